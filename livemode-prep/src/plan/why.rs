//! Why an item is in the plan: the fact that it follows from, and the rule. Pure.
use super::items::Item;

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Why {
    /// What was found, or is configured.
    pub(crate) fact: String,
    /// What follows from it.
    pub(crate) rule: &'static str,
}

impl Why {
    pub(crate) fn new(fact: impl Into<String>, rule: &'static str) -> Self {
        Self {
            fact: fact.into(),
            rule,
        }
    }
}

/// Items in their order, each with its reason.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reasoned(pub(crate) Vec<(Item, Why)>);

impl Reasoned {
    /// Adds items that are there for one reason.
    pub(crate) fn add(
        &mut self,
        fact: impl Into<String>,
        rule: &'static str,
        items: impl IntoIterator<Item = Item>,
    ) {
        let why = Why::new(fact, rule);
        self.0.extend(items.into_iter().map(|item| (item, why.clone())));
    }

    /// The items alone.
    pub(crate) fn items(&self) -> Vec<Item> {
        self.0.iter().map(|(item, _)| item.clone()).collect()
    }
}
