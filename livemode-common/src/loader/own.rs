//! The one owner of what boots next: what GRUB's environment block says of the upgrade's entry, at each stage. Pure.
use super::grubenv::{Grubenv, NEXT_ENTRY, SAVED_ENTRY};

/// Who may boot by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boots<'a> {
    /// Once the upgrade, then what is the default.
    UpgradeOnce,
    /// The upgrade, until this changes: it has proved that it boots, and what it works on may no longer boot.
    Upgrade,
    /// This entry, and no longer the upgrade. It counts only where the upgrade is the default; who has chosen another one since
    /// is left alone.
    Old(&'a str),
    /// This entry, whatever was the default.
    New(&'a str),
}

/// The block that makes it so; `ours` is the id of the upgrade's entry. Other variables stay.
#[must_use]
pub fn changed(env: &Grubenv, ours: &str, boots: Boots) -> Grubenv {
    let mut env = env.clone();
    let is_ours = |env: &Grubenv, name| env.get(name).as_deref() == Some(ours);
    match boots {
        Boots::UpgradeOnce => env.set(NEXT_ENTRY, ours),
        Boots::Upgrade => {
            env.set(SAVED_ENTRY, ours);
            env.set(NEXT_ENTRY, ours);
        }
        Boots::Old(_) | Boots::New(_) => {
            if is_ours(&env, NEXT_ENTRY) {
                env.unset(NEXT_ENTRY);
            }
            match boots {
                Boots::Old(old) if is_ours(&env, SAVED_ENTRY) => env.set(SAVED_ENTRY, old),
                Boots::New(new) => env.set(SAVED_ENTRY, new),
                _ => {}
            }
        }
    }
    env
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(variables: &[(&str, &str)]) -> Grubenv {
        let mut env = Grubenv::default();
        for (name, value) in variables {
            env.set(name, value);
        }
        env
    }

    #[test]
    fn only_what_is_ours_is_taken_back() {
        let kept = ("kernelopts", "root=UUID=x");
        for (before, boots, saved, next) in [
            (
                vec![("saved_entry", "old"), kept],
                Boots::UpgradeOnce,
                "old",
                "ours",
            ),
            (vec![("saved_entry", "old"), kept], Boots::Upgrade, "ours", "ours"),
            (
                vec![("saved_entry", "ours"), ("next_entry", "ours"), kept],
                Boots::Old("old"),
                "old",
                "",
            ),
            (
                vec![("saved_entry", "chosen"), ("next_entry", "ours"), kept],
                Boots::Old("old"),
                "chosen",
                "",
            ),
            (
                vec![("saved_entry", "ours"), ("next_entry", "another"), kept],
                Boots::Old("old"),
                "old",
                "another",
            ),
            (
                vec![("saved_entry", "chosen"), kept],
                Boots::New("new"),
                "new",
                "",
            ),
            (vec![kept], Boots::New("new"), "new", ""),
        ] {
            let after = changed(&block(&before), "ours", boots);
            assert_eq!(
                after.get("saved_entry").unwrap_or_default(),
                saved,
                "{before:?} {boots:?}"
            );
            assert_eq!(
                after.get("next_entry").unwrap_or_default(),
                next,
                "{before:?} {boots:?}"
            );
            assert_eq!(after.get("kernelopts").as_deref(), Some("root=UUID=x"));
        }
    }
}
