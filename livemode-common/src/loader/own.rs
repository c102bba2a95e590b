//! The one owner of what boots next: what a loader is told of the upgrade's entry, at each stage. Pure.

/// Who may boot by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boots<'a> {
    /// Once the upgrade, then what is the default.
    UpgradeOnce,
    /// The upgrade, until this changes: it has proved that it boots, and what it works on may no longer boot.
    Upgrade,
    /// This entry, or what the loader takes of itself, and no longer the upgrade. It counts only where the upgrade is the
    /// default; who has chosen another one since is left alone.
    Old(Option<&'a str>),
    /// This entry, whatever was the default.
    New(&'a str),
}

/// What a loader is told by an entry's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Which entry boots once.
    Once,
    /// Which one boots otherwise.
    Default,
}

/// Where a loader looks for both.
pub trait Choices: Clone {
    /// What is set, and not empty.
    fn chosen(&self, choice: Choice) -> Option<String>;
    /// Sets it, or takes it away.
    fn choose(&mut self, choice: Choice, id: Option<&str>);
}

/// The same with what makes it so; `ours` is the id of the upgrade's entry. All else stays.
#[must_use]
pub fn changed<C: Choices>(choices: &C, ours: &str, boots: Boots) -> C {
    let mut choices = choices.clone();
    let is_ours = |choices: &C, choice| choices.chosen(choice).as_deref() == Some(ours);
    match boots {
        Boots::UpgradeOnce => choices.choose(Choice::Once, Some(ours)),
        Boots::Upgrade => {
            choices.choose(Choice::Default, Some(ours));
            choices.choose(Choice::Once, Some(ours));
        }
        Boots::Old(_) | Boots::New(_) => {
            if is_ours(&choices, Choice::Once) {
                choices.choose(Choice::Once, None);
            }
            match boots {
                Boots::Old(old) if is_ours(&choices, Choice::Default) => choices.choose(Choice::Default, old),
                Boots::New(new) => choices.choose(Choice::Default, Some(new)),
                _ => {}
            }
        }
    }
    choices
}

#[cfg(test)]
mod tests {
    use super::super::grubenv::Grubenv;
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
                Boots::Old(Some("old")),
                "old",
                "",
            ),
            (
                vec![("saved_entry", "chosen"), ("next_entry", "ours"), kept],
                Boots::Old(Some("old")),
                "chosen",
                "",
            ),
            (
                vec![("saved_entry", "ours"), ("next_entry", "another"), kept],
                Boots::Old(Some("old")),
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
            (
                vec![("saved_entry", "ours"), ("next_entry", "ours"), kept],
                Boots::Old(None),
                "",
                "",
            ),
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
