//! How often who calls whom, counted from what every node knows of all calls.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use super::super::{Instant, Limits, UserId, counters::Rule, random::Random};

/// Offers that were made, and refusals of them.
#[derive(Debug)]
pub(super) struct Tally {
    callers: HashMap<UserId, Caller, ahash::RandomState>,
    callees: HashMap<UserId, VecDeque<Instant>, ahash::RandomState>,
    declined: HashMap<(UserId, UserId), Declined, ahash::RandomState>,
    hasher: ahash::RandomState,
    sweep_at: usize,
}

/// What somebody offered within the last hour.
#[derive(Debug, Default)]
struct Caller {
    /// When, and to whom (hashed).
    offers: VecDeque<(Instant, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Declined {
    times: u32,
    last: Instant,
}

/// Whom an offer is for, as far as it is counted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Called<'a> {
    User(&'a UserId),
    Room(&'a super::super::RoomId),
}

/// A limit that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tripped {
    /// Which.
    pub(super) rule: Rule,
    /// For people.
    pub(super) message: &'static str,
    /// When it may be tried again.
    pub(super) after: Duration,
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// Offers of one caller, or to one callee, that are counted: limits beyond that are not reached.
const COUNTED_MAX: usize = 1024;
/// The longest wait after being declined.
const DECLINED_DELAY_MAX: Duration = HOUR;
/// How long a refusal is remembered.
const DECLINED_KEPT: Duration = Duration::from_secs(6 * 3600);
/// Below this nothing is swept.
const SWEEP_MIN: usize = 1024;

impl Tally {
    pub(super) fn new(random: &mut Random) -> Self {
        Self {
            callers: HashMap::with_hasher(random.hasher()),
            callees: HashMap::with_hasher(random.hasher()),
            declined: HashMap::with_hasher(random.hasher()),
            hasher: random.hasher(),
            sweep_at: SWEEP_MIN,
        }
    }

    /// Whether one more offer may be made.
    ///
    /// # Errors
    /// The limit that says no.
    pub(super) fn check(
        &self,
        now: Instant,
        limits: &Limits,
        from: &UserId,
        to: Called<'_>,
    ) -> Result<(), Tripped> {
        if let Some(caller) = self.callers.get(from) {
            caller.check(now, limits, self.hash(to))?;
        }
        let Called::User(callee) = to else { return Ok(()) };
        if let Some(offers) = self.callees.get(callee) {
            let after = wait(now, offers.iter().copied(), limits.offers_per_callee, MINUTE);
            trip(Rule::Callee, "the callee is called too often", after)?;
        }
        let declined = self.declined.get(&(from.clone(), callee.clone()));
        let after = declined.and_then(|declined| declined.wait(now, limits.declined_delay));
        trip(Rule::Declined, "the callee declined", after)
    }

    /// An offer was made, wherever.
    pub(super) fn offered(&mut self, now: Instant, from: &UserId, to: Called<'_>) {
        self.sweep(now);
        let hash = self.hash(to);
        let caller = self.callers.entry(from.clone()).or_default();
        keep(&mut caller.offers, (now, hash), |(at, _)| now.since(*at) < HOUR);
        if let Called::User(callee) = to {
            let offers = self.callees.entry(callee.clone()).or_default();
            keep(offers, now, |at| now.since(*at) < MINUTE);
        }
    }

    /// The callee does not want to talk to the caller now.
    pub(super) fn declined(&mut self, now: Instant, from: &UserId, by: &UserId) {
        let known = self.declined.entry((from.clone(), by.clone()));
        let declined = known.or_insert(Declined { times: 0, last: now });
        declined.times = declined.times.saturating_add(1);
        declined.last = now;
    }

    /// The callee does.
    pub(super) fn answered(&mut self, from: &UserId, by: &UserId) {
        self.declined.remove(&(from.clone(), by.clone()));
        self.declined.remove(&(by.clone(), from.clone()));
    }

    fn hash(&self, to: Called<'_>) -> u64 {
        match to {
            Called::User(user) => self.hasher.hash_one((0_u8, user)),
            Called::Room(room) => self.hasher.hash_one((1_u8, room)),
        }
    }

    /// Forgets what counts no more, once there is twice as much as after the last time.
    fn sweep(&mut self, now: Instant) {
        if self.callers.len() + self.callees.len() + self.declined.len() < self.sweep_at {
            return;
        }
        self.callers.retain(|_, caller| caller.offers.back().is_some_and(|(at, _)| now.since(*at) < HOUR));
        self.callees.retain(|_, offers| offers.back().is_some_and(|at| now.since(*at) < MINUTE));
        self.declined.retain(|_, declined| now.since(declined.last) < DECLINED_KEPT);
        self.sweep_at = (2 * (self.callers.len() + self.callees.len() + self.declined.len())).max(SWEEP_MIN);
    }
}

impl Caller {
    fn check(&self, now: Instant, limits: &Limits, to: u64) -> Result<(), Tripped> {
        let times = || self.offers.iter().map(|(at, _)| *at);
        let after = wait(now, times(), limits.offers_per_minute, MINUTE);
        trip(Rule::Offers, "too many calls a minute", after)?;
        let after = wait(now, times(), limits.offers_per_hour, HOUR);
        trip(Rule::Offers, "too many calls an hour", after)?;
        let same = self.offers.iter().filter(|(_, callee)| *callee == to).map(|(at, _)| *at);
        let after = wait(now, same, limits.offers_per_pair, MINUTE);
        trip(Rule::Pair, "too many calls to one callee a minute", after)?;
        trip(Rule::Callees, "too many different callees an hour", self.callees_wait(now, limits, to))
    }

    fn callees_wait(&self, now: Instant, limits: &Limits, to: u64) -> Option<Duration> {
        let recent = self.offers.iter().filter(|(at, _)| now.since(*at) < HOUR);
        let callees: HashSet<u64> = recent.map(|(_, callee)| *callee).collect();
        let is_full = limits.callees_per_hour > 0 && callees.len() >= limits.callees_per_hour as usize;
        if !is_full || callees.contains(&to) {
            return None;
        }
        self.offers.iter().find(|(at, _)| now.since(*at) < HOUR).map(|(at, _)| left(now, *at, HOUR))
    }
}

impl Declined {
    fn wait(self, now: Instant, delay: Duration) -> Option<Duration> {
        let doubled = delay.saturating_mul(1 << (self.times.saturating_sub(1)).min(16));
        let until = self.last.after(doubled.min(DECLINED_DELAY_MAX));
        (until > now).then(|| until.since(now))
    }
}

/// How long until fewer than `max` of these points in time, the oldest first, are within `per`.
fn wait(now: Instant, times: impl Iterator<Item = Instant>, max: u32, per: Duration) -> Option<Duration> {
    if max == 0 {
        return None;
    }
    let recent: Vec<Instant> = times.filter(|at| now.since(*at) < per).collect();
    let leaving = recent.len().checked_sub(max as usize)?;
    recent.get(leaving).map(|at| left(now, *at, per))
}

fn left(now: Instant, at: Instant, per: Duration) -> Duration {
    at.after(per).since(now)
}

fn trip(rule: Rule, message: &'static str, after: Option<Duration>) -> Result<(), Tripped> {
    after.map_or(Ok(()), |after| Err(Tripped { rule, message, after }))
}

fn keep<T>(queue: &mut VecDeque<T>, item: T, is_recent: impl Fn(&T) -> bool) {
    while queue.front().is_some_and(|first| !is_recent(first)) || queue.len() >= COUNTED_MAX {
        queue.pop_front();
    }
    queue.push_back(item);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    fn tally() -> Tally {
        Tally::new(&mut Random::new(&[1; 32]))
    }

    fn limit(tally: &Tally, at: u64, from: &str, to: &str) -> Option<(Rule, u64)> {
        let (from, to) = (user(from), user(to));
        let checked = tally.check(Instant::from_millis(at), &Limits::default(), &from, Called::User(&to));
        checked.err().map(|tripped| (tripped.rule, tripped.after.as_secs()))
    }

    #[test]
    fn offers_are_counted_per_pair_per_caller_and_per_callee() {
        let mut tally = tally();
        let at = |seconds: u64| Instant::from_millis(seconds * 1000);
        for second in 0..5 {
            assert_eq!(limit(&tally, second * 1000, "a", "b"), None);
            tally.offered(at(second), &user("a"), Called::User(&user("b")));
        }
        assert_eq!(limit(&tally, 5000, "a", "b"), Some((Rule::Pair, 55)));
        assert_eq!(limit(&tally, 5000, "a", "c"), None);
        assert_eq!(limit(&tally, 60_000, "a", "b"), None, "the first left the minute");
        for number in 0..5 {
            tally.offered(at(5), &user("a"), Called::User(&user(&format!("c{number}"))));
        }
        assert_eq!(limit(&tally, 6000, "a", "d"), Some((Rule::Offers, 54)));
        for number in 0..20 {
            tally.offered(at(6), &user(&format!("x{number}")), Called::User(&user("z")));
        }
        assert_eq!(limit(&tally, 7000, "y", "z"), Some((Rule::Callee, 59)));
    }

    #[test]
    fn different_callees_are_counted_over_an_hour() {
        let mut tally = tally();
        for number in 0..30_u64 {
            let at = Instant::from_millis(number * 10_000);
            tally.offered(at, &user("a"), Called::User(&user(&format!("c{number}"))));
        }
        assert_eq!(limit(&tally, 400_000, "a", "new"), Some((Rule::Callees, 3200)));
        assert_eq!(limit(&tally, 400_000, "a", "c3"), None);
        assert_eq!(limit(&tally, 3_600_000, "a", "new"), None);
    }

    #[test]
    fn who_was_declined_waits_twice_as_long_each_time_until_answered() {
        let mut tally = tally();
        let (a, b) = (user("a"), user("b"));
        tally.declined(Instant::from_millis(0), &a, &b);
        assert_eq!(limit(&tally, 0, "a", "b"), Some((Rule::Declined, 30)));
        assert_eq!(limit(&tally, 0, "b", "a"), None);
        assert_eq!(limit(&tally, 30_000, "a", "b"), None);
        tally.declined(Instant::from_millis(30_000), &a, &b);
        assert_eq!(limit(&tally, 30_000, "a", "b"), Some((Rule::Declined, 60)));
        tally.answered(&a, &b);
        assert_eq!(limit(&tally, 30_000, "a", "b"), None);
    }

    #[test]
    fn what_counts_no_more_is_forgotten() {
        let mut tally = tally();
        // With the one callee, as many as are swept.
        for number in 1..SWEEP_MIN {
            let at = Instant::from_millis(0);
            tally.offered(at, &user(&format!("a{number}")), Called::User(&user("b")));
        }
        tally.offered(Instant::from_millis(4_000_000), &user("a"), Called::User(&user("b")));
        assert_eq!((tally.callers.len(), tally.callees.len()), (1, 1));
    }
}
