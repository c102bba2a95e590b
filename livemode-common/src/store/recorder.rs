//! The states of an upgrade in the store: outside of what is given up when the upgrade is, and readable in the old, the live and
//! the new system.
use anyhow::{Context, Result};

use super::{StoreIo, SLOTS, SLOT_BYTES};
use crate::records::State;

/// The recorder of a store. The last two states stand in two slots: while one is written the other stays.
#[derive(Debug)]
pub struct Recorder {
    store: StoreIo,
}

impl Recorder {
    /// That of a store.
    pub fn new(store: StoreIo) -> Self {
        Self { store }
    }

    /// The last state; none before the first. A slot that is torn counts for nothing.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn state(&self) -> Result<Option<State>> {
        let mut last: Option<State> = None;
        for at in SLOTS {
            let mut slot = vec![0; SLOT_BYTES as usize];
            self.store.read(at, &mut slot)?;
            let end = slot.iter().position(|byte| *byte == 0).unwrap_or(slot.len());
            let state = serde_json::from_slice::<State>(&slot[..end]);
            let state = state
                .ok()
                .filter(|state| state.checksum.is_some() && state.is_whole());
            last = last.max_by_sequence(state);
        }
        Ok(last)
    }

    /// Makes a state durable, in the slot of the last but one.
    ///
    /// # Errors
    /// When it does not fit, or the store cannot be written.
    pub fn record(&self, state: &State) -> Result<()> {
        let mut slot = serde_json::to_vec(state).context("writing JSON")?;
        anyhow::ensure!(
            (slot.len() as u64) < SLOT_BYTES,
            "the state does not fit into the store: {} bytes",
            slot.len()
        );
        slot.resize(SLOT_BYTES as usize, 0);
        let at = SLOTS[usize::from(state.sequence % 2 == 1)];
        self.store.write(at, &slot)
    }

    /// The store.
    pub fn store(&self) -> &StoreIo {
        &self.store
    }
}

trait Later {
    fn max_by_sequence(self, other: Self) -> Self;
}

impl Later for Option<State> {
    fn max_by_sequence(self, other: Self) -> Self {
        self.into_iter().chain(other).max_by_key(|state| state.sequence)
    }
}
