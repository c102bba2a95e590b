//! The beginning and the end of a long text, in bounded memory.
use std::collections::VecDeque;

/// How much is kept of the beginning, and as much again of the end, in bytes.
const KEPT: usize = 8 << 10;

/// Takes a text piece by piece.
#[derive(Debug, Default)]
pub(super) struct Ends {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    left_out: u64,
}

impl Ends {
    /// Takes the next piece.
    pub(super) fn push(&mut self, piece: &[u8]) {
        let (head, rest) = piece.split_at(piece.len().min(KEPT - self.head.len()));
        self.head.extend(head);
        self.tail.extend(rest);
        let over = self.tail.len().saturating_sub(KEPT);
        self.tail.drain(..over);
        self.left_out += over as u64;
    }

    /// What is kept; where some was left out, a line between says how much.
    pub(super) fn into_text(self) -> String {
        let mut bytes = self.head;
        if self.left_out > 0 {
            bytes.extend(format!("\n[{} bytes left out]\n", self.left_out).into_bytes());
        }
        bytes.extend(self.tail);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(pieces: &[&str]) -> String {
        let mut ends = Ends::default();
        pieces.iter().for_each(|piece| ends.push(piece.as_bytes()));
        ends.into_text()
    }

    #[test]
    fn a_text_that_fits_is_whole() {
        assert_eq!(kept(&[]), "");
        assert_eq!(kept(&["one ", "two"]), "one two");
        let all = "x".repeat(2 * KEPT);
        assert_eq!(kept(&[&all]), all);
    }

    #[test]
    fn of_a_longer_one_beginning_and_end_are_kept_however_it_arrives() {
        let (first, middle, last) = ("a".repeat(KEPT), "b".repeat(1000), "c".repeat(KEPT));
        let expected = format!("{first}\n[1000 bytes left out]\n{last}");
        assert_eq!(kept(&[&first, &middle, &last]), expected);
        let all = format!("{first}{middle}{last}");
        assert_eq!(kept(&[&all]), expected);
        let (left, right) = all.split_at(100);
        assert_eq!(kept(&[left, right]), expected);
    }
}
