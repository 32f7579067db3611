//! Lists of the signaling relay.

use super::{
    super::types::{DecisionKind, SIGNAL_SCOPE_WORDS, SignalScope},
    lists::Item,
};

impl Item for SignalScope {
    const PLACEHOLDER: &'static str = "THEIRS=OURS";

    fn read_item(text: &str) -> Result<Vec<Self>, String> {
        let Some((theirs, ours)) = text.rsplit_once('=').filter(|(theirs, _)| !theirs.is_empty()) else {
            return Err("is not a pair; write one such as \"rtc.call=call\"".to_owned());
        };
        if !SIGNAL_SCOPE_WORDS.contains(&ours) {
            let known = SIGNAL_SCOPE_WORDS.join(", ");
            return Err(format!("stands for {ours:?}, which is not one of {known}"));
        }
        Ok(vec![Self { theirs: theirs.to_owned(), ours: ours.to_owned() }])
    }

    fn show_item(&self) -> String {
        format!("{}={}", self.theirs, self.ours)
    }
}

impl Item for DecisionKind {
    const PLACEHOLDER: &'static str = "KIND";

    fn read_item(text: &str) -> Result<Vec<Self>, String> {
        match Self::ALL.into_iter().find(|kind| kind.as_str() == text) {
            Some(kind) => Ok(vec![kind]),
            None => {
                Err(format!("is not one of {}; write one of them", Self::ALL.map(Self::as_str).join(", ")))
            }
        }
    }

    fn show_item(&self) -> String {
        self.as_str().to_owned()
    }
}
