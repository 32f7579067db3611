//! Which writes of rows a node knows of.

use std::collections::BTreeMap;

/// Writes that may be known out of order.
const AHEAD_MAX: usize = 1024;

/// Which writes of rows this node knows of.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) up_to: u64,
    /// Writes after a gap: from, to.
    ahead: BTreeMap<u64, u64>,
    /// What Redis counted when a gap was first seen.
    behind_since: Option<u64>,
}

impl Progress {
    /// Writes `from` (excluded) to `to` are known.
    pub(super) fn note(&mut self, from: u64, to: u64) {
        if self.ahead.len() < AHEAD_MAX {
            self.ahead.insert(from, to);
        }
        while let Some((from, to)) = self.ahead.pop_first() {
            if from > self.up_to {
                self.ahead.insert(from, to);
                break;
            }
            self.up_to = self.up_to.max(to);
        }
    }

    pub(super) fn reset(&mut self, up_to: u64) {
        *self = Self { up_to, ..Self::default() };
    }

    /// Whether rows must be compared, Redis having counted `counted` writes: writes were lost there, or were not heard of
    /// here at two looks in a row.
    pub(super) fn is_behind(&mut self, counted: u64) -> bool {
        if counted == self.up_to {
            self.behind_since = None;
            return false;
        }
        if counted < self.up_to {
            return true;
        }
        let before = self.behind_since.replace(counted);
        before.is_some_and(|before| before > self.up_to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_heard_out_of_order_are_all_known_at_the_end() {
        let mut progress = Progress::default();
        progress.reset(10);
        progress.note(12, 15);
        progress.note(11, 12);
        assert_eq!(progress.up_to, 10);
        progress.note(10, 11);
        assert_eq!(progress.up_to, 15);
        assert!(progress.ahead.is_empty());
    }

    #[test]
    fn rows_are_compared_when_a_write_stays_unheard_or_is_lost() {
        let mut progress = Progress::default();
        progress.reset(10);
        assert!(!progress.is_behind(10));
        assert!(!progress.is_behind(12), "its message may be on the way");
        assert!(progress.is_behind(12));
        progress.reset(12);
        assert!(progress.is_behind(11), "Redis forgot a write");
    }

    #[test]
    fn a_message_that_comes_between_two_looks_is_no_loss() {
        let mut progress = Progress::default();
        progress.reset(10);
        assert!(!progress.is_behind(11));
        progress.note(10, 11);
        assert!(!progress.is_behind(12), "the first look was at an earlier write");
    }
}
