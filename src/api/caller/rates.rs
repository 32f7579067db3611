//! How often callers ask, over all nodes, without asking the other nodes each time.
//!
//! Every node holds each name to the whole rate by itself and settles with the counter that all share for a tenth of
//! the rate at a time, while the request goes on. Once the shared counter refuses, the node has used that tenth ahead of
//! time and takes nothing more for this name until it is granted. Where requests come faster than it answers, they wait
//! for it once a second tenth is used. So a request waits for the shared counter only in a burst or where the limit is
//! reached, a name that is seldom used never costs a round trip, and all nodes together let at most two tenths of the
//! rate through too much for each node.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, futures::OwnedNotified},
    time::timeout,
};

use super::recent::Recent;
use crate::cluster::{Cluster, Health, LimitAnswer, Rate};

/// Half of the names that are remembered. One that is forgotten has its whole rate again.
const NAMES_HALF: usize = 50_000;
/// In how many parts a rate is settled.
const PARTS: u32 = 10;
/// How long others wait while one request settles.
const SETTLING: Duration = Duration::from_millis(100);

/// Counts uses of names.
#[derive(Clone)]
pub(super) struct Rates {
    cluster: Cluster,
    names: Arc<Mutex<Recent<Box<str>, Usage>>>,
}

#[derive(Debug)]
struct Usage {
    /// When the whole rate may be used at once again (GCRA).
    full_at: Instant,
    last: Instant,
    /// Uses not settled yet, those that are being settled among them.
    unsettled: u32,
    /// Somebody settles just now.
    is_settling: bool,
    /// Told when that is done.
    settled: Arc<Notify>,
    /// The shared counter refused what was used already: nothing more before this instant, and not before it grants.
    owed_until: Option<Instant>,
}

/// Whether something may be done, and what the answer says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) is_admitted: bool,
    pub(super) remaining: u32,
    /// Until there is more; if it was refused, until the next may be done.
    pub(super) reset: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Done(Verdict),
    /// Done, and a part is to be settled meanwhile.
    Report(Verdict),
    /// What is owed must be granted first.
    Settle,
    /// As much as may be ahead of the shared counter is: its answer comes first.
    Wait,
}

impl std::fmt::Debug for Rates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rates").finish_non_exhaustive()
    }
}

impl Rates {
    pub(super) fn new(cluster: Cluster) -> Self {
        Self { cluster, names: Arc::new(Mutex::new(Recent::new(NAMES_HALF))) }
    }

    /// Counts one use of `name`.
    pub(super) async fn count(&self, name: &str, quota: u32, window: Duration) -> Verdict {
        let rate = Rate { count: quota, per: window, burst: quota };
        let is_alone = self.cluster.health() == Health::Alone;
        let mut step = self.step(name, rate, is_alone).await;
        if step == Step::Settle {
            self.settle(name, rate).await;
            step = self.step(name, rate, is_alone).await;
        }
        match step {
            Step::Done(verdict) => verdict,
            Step::Report(verdict) => {
                let (rates, name) = (self.clone(), Box::<str>::from(name));
                tokio::spawn(async move { rates.settle(&name, rate).await });
                verdict
            }
            // Granted and used up by others at once.
            Step::Settle | Step::Wait => refused(SETTLING),
        }
    }

    /// One step, after what must be waited for.
    async fn step(&self, name: &str, rate: Rate, is_alone: bool) -> Step {
        let deadline = tokio::time::Instant::now() + SETTLING;
        loop {
            let (step, settled) = self.with(|names| {
                let step = names.step(name, rate, is_alone, Instant::now());
                let settled = (step == Step::Wait).then(|| names.settled_next(name)).flatten();
                (step, settled)
            });
            let Some(settled) = settled else { return step };
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            if timeout(left, settled).await.is_err() {
                return step;
            }
        }
    }

    async fn settle(&self, name: &str, rate: Rate) {
        let answer = self.cluster.limit(&format!("api-{name}"), parts(rate)).await;
        self.with(|names| names.settled(name, rate, answer, Instant::now()));
    }

    fn with<T>(&self, act: impl FnOnce(&mut Recent<Box<str>, Usage>) -> T) -> T {
        act(&mut self.names.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How many uses one part stands for.
fn part(rate: Rate) -> u32 {
    (rate.count / PARTS).max(1)
}

/// The rate in parts.
fn parts(rate: Rate) -> Rate {
    let part = part(rate);
    Rate { count: rate.count.div_ceil(part), per: rate.per, burst: rate.burst.div_ceil(part) }
}

fn refused(retry_after: Duration) -> Verdict {
    Verdict { is_admitted: false, remaining: 0, reset: retry_after }
}

impl Recent<Box<str>, Usage> {
    fn step(&mut self, name: &str, rate: Rate, is_alone: bool, now: Instant) -> Step {
        if self.get(name).is_none() {
            self.insert(name.into(), Usage::new(now));
        }
        match self.get(name) {
            Some(usage) => usage.step(rate, is_alone, now),
            None => Step::Done(refused(SETTLING)),
        }
    }

    /// Ends when what is being settled now is.
    fn settled_next(&mut self, name: &str) -> Option<OwnedNotified> {
        self.get(name).map(|usage| Arc::clone(&usage.settled).notified_owned())
    }

    fn settled(&mut self, name: &str, rate: Rate, answer: LimitAnswer, now: Instant) {
        let Some(usage) = self.get(name) else { return };
        if usage.owed_until.is_none() {
            usage.unsettled = usage.unsettled.saturating_sub(part(rate));
        }
        usage.is_settling = false;
        usage.settled.notify_waiters();
        usage.owed_until = (!answer.is_admitted).then(|| now + answer.retry_after.max(SETTLING));
    }
}

impl Usage {
    fn new(now: Instant) -> Self {
        let settled = Arc::new(Notify::new());
        Self { full_at: now, last: now, unsettled: 0, is_settling: false, settled, owed_until: None }
    }

    fn step(&mut self, rate: Rate, is_alone: bool, now: Instant) -> Step {
        if let Some(until) = self.owed_until.filter(|_| !is_alone) {
            if until > now {
                return Step::Done(refused(until - now));
            }
            if self.is_settling {
                return Step::Done(refused(SETTLING));
            }
            self.is_settling = true;
            return Step::Settle;
        }
        if self.is_settling && !is_alone && self.unsettled >= 2 * part(rate) {
            return Step::Wait;
        }
        let verdict = self.count(rate, now);
        if !verdict.is_admitted || is_alone {
            return Step::Done(verdict);
        }
        // What was used longer ago than the window counts no more.
        if now.saturating_duration_since(self.last) > rate.per {
            self.unsettled = 0;
        }
        self.last = now;
        self.unsettled += 1;
        if self.unsettled < part(rate) || self.is_settling {
            return Step::Done(verdict);
        }
        self.is_settling = true;
        Step::Report(verdict)
    }

    /// Against the whole rate, on this node.
    fn count(&mut self, rate: Rate, now: Instant) -> Verdict {
        let interval = rate.per / rate.count.max(1);
        let full_at = self.full_at.max(now) + interval;
        let needed = full_at.saturating_duration_since(now);
        let capacity = interval * rate.burst.max(1);
        if needed > capacity {
            return refused(needed - capacity);
        }
        self.full_at = full_at;
        let left = (capacity - needed).as_nanos() / interval.as_nanos().max(1);
        Verdict { is_admitted: true, remaining: u32::try_from(left).unwrap_or(u32::MAX), reset: needed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { count: 30, per: Duration::from_secs(60), burst: 30 };

    fn table() -> Recent<Box<str>, Usage> {
        Recent::new(100)
    }

    fn answer(is_admitted: bool) -> LimitAnswer {
        LimitAnswer { is_admitted, remaining: 0, retry_after: Duration::from_secs(6) }
    }

    #[test]
    fn a_node_alone_holds_each_name_to_the_rate() {
        let (mut names, now) = (table(), Instant::now());
        for left in (0..30).rev() {
            let Step::Done(verdict) = names.step("a", RATE, true, now) else { panic!() };
            assert!(verdict.is_admitted);
            assert_eq!(verdict.remaining, left);
        }
        assert_eq!(names.step("a", RATE, true, now), Step::Done(refused(Duration::from_secs(2))));
        assert!(matches!(names.step("b", RATE, true, now), Step::Done(Verdict { is_admitted: true, .. })));
        let later = now + Duration::from_secs(2);
        assert!(matches!(names.step("a", RATE, true, later), Step::Done(Verdict { is_admitted: true, .. })));
    }

    #[test]
    fn every_tenth_part_is_settled_once() {
        let (mut names, now) = (table(), Instant::now());
        let mut reports = 0;
        for _ in 0..30 {
            if matches!(names.step("a", RATE, false, now), Step::Report(_)) {
                reports += 1;
                names.settled("a", RATE, answer(true), now);
            }
        }
        assert_eq!(reports, 10);
    }

    #[test]
    fn a_name_that_is_seldom_used_is_never_settled() {
        let mut names = table();
        let mut now = Instant::now();
        for _ in 0..100 {
            assert!(matches!(
                names.step("a", RATE, false, now),
                Step::Done(Verdict { is_admitted: true, .. })
            ));
            now += Duration::from_secs(61);
        }
    }

    #[test]
    fn what_is_owed_is_granted_before_anything_more_is_taken() {
        let (mut names, now) = (table(), Instant::now());
        for _ in 0..2 {
            assert!(matches!(names.step("a", RATE, false, now), Step::Done(_)));
        }
        assert!(matches!(names.step("a", RATE, false, now), Step::Report(_)));
        names.settled("a", RATE, answer(false), now);
        assert_eq!(names.step("a", RATE, false, now), Step::Done(refused(Duration::from_secs(6))));
        let later = now + Duration::from_secs(6);
        assert_eq!(names.step("a", RATE, false, later), Step::Settle);
        assert_eq!(names.step("a", RATE, false, later), Step::Done(refused(SETTLING)));
        names.settled("a", RATE, answer(true), later);
        assert!(matches!(names.step("a", RATE, false, later), Step::Done(Verdict { is_admitted: true, .. })));
    }

    #[test]
    fn a_burst_waits_for_the_shared_counter_once_two_parts_are_ahead() {
        let (mut names, now) = (table(), Instant::now());
        let steps: Vec<Step> = (0..7).map(|_| names.step("a", RATE, false, now)).collect();
        let admitted = steps.iter().filter(|step| matches!(step, Step::Done(_) | Step::Report(_))).count();
        assert_eq!((admitted, steps[6]), (6, Step::Wait));
        names.settled("a", RATE, answer(true), now);
        assert!(matches!(names.step("a", RATE, false, now), Step::Report(_)));
        names.settled("a", RATE, answer(false), now);
        assert_eq!(names.step("a", RATE, false, now), Step::Done(refused(Duration::from_secs(6))));
    }

    #[tokio::test]
    async fn whoever_waits_is_told_that_it_is_settled() {
        let (mut names, now) = (table(), Instant::now());
        for _ in 0..6 {
            names.step("a", RATE, false, now);
        }
        let waiting = names.settled_next("a").unwrap();
        names.settled("a", RATE, answer(true), now);
        waiting.await;
    }

    /// Several nodes and one shared counter, all as busy as they can be.
    #[test]
    fn nodes_together_stay_near_the_rate() {
        const NODES: usize = 5;
        let start = Instant::now();
        let mut nodes: Vec<_> = (0..NODES).map(|_| table()).collect();
        let mut shared = Usage::new(start);
        let mut admitted = 0;
        let minutes = 10;
        for tick in 0..minutes * 600 {
            let now = start + Duration::from_millis(100) * tick;
            for names in &mut nodes {
                let mut step = names.step("a", RATE, false, now);
                for _ in 0..2 {
                    if !matches!(step, Step::Settle | Step::Report(_)) {
                        break;
                    }
                    let verdict = shared.count(parts(RATE), now);
                    let answer = LimitAnswer {
                        is_admitted: verdict.is_admitted,
                        remaining: 0,
                        retry_after: if verdict.is_admitted { Duration::ZERO } else { verdict.reset },
                    };
                    names.settled("a", RATE, answer, now);
                    if step != Step::Settle {
                        break;
                    }
                    step = names.step("a", RATE, false, now);
                }
                if let Step::Done(verdict) | Step::Report(verdict) = step {
                    admitted += u32::from(verdict.is_admitted);
                }
            }
        }
        // The burst, the rate, and a part for each node.
        let most = 30 + minutes * 30 + 3 * NODES as u32;
        assert!((minutes * 30..=most).contains(&admitted), "{admitted} of at most {most}");
    }
}
