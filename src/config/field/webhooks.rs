//! Lists of `webhooks`.

use std::time::Duration;

use super::{
    super::types::{EventFilter, RetryWait},
    lists::Item,
    units,
};

/// Longer waits would be none.
const WAIT_MAX: Duration = Duration::from_secs(86_400);
/// Shorter ones would be a flood.
const WAIT_MIN: Duration = Duration::from_millis(10);
const FILTER_BYTES_MAX: usize = 64;

impl Item for EventFilter {
    const PLACEHOLDER: &'static str = "TYPE";

    fn read_item(text: &str) -> Result<Vec<Self>, String> {
        let start = text.strip_suffix('*').unwrap_or(text);
        let is_word = |b: u8| b.is_ascii_lowercase() || b"._".contains(&b);
        if text.is_empty() || text.len() > FILTER_BYTES_MAX || !start.bytes().all(is_word) {
            return Err(
                "is no type of event; write one such as \"call.ended\", \"call.*\" or \"*\"".to_owned()
            );
        }
        Ok(vec![Self(text.to_owned())])
    }

    fn show_item(&self) -> String {
        self.0.clone()
    }
}

impl Item for RetryWait {
    const PLACEHOLDER: &'static str = "DURATION";

    fn read_item(text: &str) -> Result<Vec<Self>, String> {
        let wait = units::duration(text).filter(|wait| (WAIT_MIN..=WAIT_MAX).contains(wait));
        let wait = wait.ok_or("is not a duration from 10ms to 24h, such as \"30s\" or \"10m\"")?;
        Ok(vec![Self(wait)])
    }

    fn show_item(&self) -> String {
        units::show_duration(self.0)
    }
}
