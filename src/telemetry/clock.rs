//! The wall clock beside the one that does not jump: jumps are named once, and what would be thrown away because of one
//! has an hour to be saved.

use std::{
    sync::{
        LazyLock, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Two clocks that part by more than this between two looks: one has jumped. Corrections that are slewed are far less.
const JUMP_MILLIS: i64 = 2000;
/// How long a jump forwards is not believed where that would destroy something.
const DOUBT: Duration = Duration::from_secs(3600);

static CLOCK: LazyLock<Mutex<Clock>> = LazyLock::new(|| Mutex::new(Clock::new(Reading::now())));
static FORWARDS: AtomicU64 = AtomicU64::new(0);
static BACKWARDS: AtomicU64 = AtomicU64::new(0);
static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A time that only grows, since about the start of the process: for whatever is done or said every so often.
#[must_use]
pub fn uptime() -> Duration {
    BEGUN.elapsed()
}

/// Milliseconds since the Unix epoch by which something may be thrown away for its age. While a jump forwards is
/// younger than an hour, the clock as it would be without it: if it was wrong, nothing is lost.
#[must_use]
pub fn settled_millis() -> u64 {
    u64::try_from(look()).unwrap_or(0)
}

/// The same in seconds.
#[must_use]
pub fn settled_seconds() -> u64 {
    settled_millis() / 1000
}

/// How often the clock was seen to jump, forwards and backwards.
#[must_use]
pub fn clock_jumps() -> [(&'static str, u64); 2] {
    [("forwards", FORWARDS.load(Ordering::Relaxed)), ("backwards", BACKWARDS.load(Ordering::Relaxed))]
}

/// Compares the clocks, says so if one has jumped, and answers the settled time.
fn look() -> i64 {
    // Read inside, so that readings come in order.
    let mut clock = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
    let looked = clock.look(Reading::now());
    drop(clock);
    if let Some(jump) = looked.jump {
        name(jump);
    }
    looked.settled
}

fn name(jump: i64) {
    let seconds = (jump.unsigned_abs() + 500) / 1000;
    let mend = "let chrony or systemd-timesyncd set the clock (timedatectl); nothing is wrong if the machine slept or the \
                clock was wrong before";
    if jump > 0 {
        FORWARDS.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            seconds,
            mend,
            "The clock of this machine jumped forwards: credentials and tokens are over sooner; what is kept until a \
             time is kept an hour longer. What is up goes on."
        );
    } else {
        BACKWARDS.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            seconds,
            mend,
            "The clock of this machine jumped backwards: credentials and tokens live longer, and those of others may be \
             from the future. What is up goes on."
        );
    }
}

/// Both clocks at one instant.
#[derive(Clone, Copy, Debug)]
struct Reading {
    steady: Instant,
    /// Milliseconds since the Unix epoch.
    wall: i64,
}

impl Reading {
    fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { steady: Instant::now(), wall: i64::try_from(since.as_millis()).unwrap_or(i64::MAX) }
    }

    /// What the wall clock would be at a later instant without a jump.
    fn carried_to(self, steady: Instant) -> i64 {
        let passed = steady.saturating_duration_since(self.steady).as_millis();
        self.wall.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX))
    }
}

struct Clock {
    last: Reading,
    /// What is believed where it matters.
    believed: Reading,
    /// Since when the wall clock has been ahead of that.
    doubted: Option<Instant>,
}

struct Looked {
    jump: Option<i64>,
    settled: i64,
}

impl Clock {
    const fn new(now: Reading) -> Self {
        Self { last: now, believed: now, doubted: None }
    }

    fn look(&mut self, now: Reading) -> Looked {
        let jump = now.wall.saturating_sub(self.last.carried_to(now.steady));
        self.last = now;
        let carried = self.believed.carried_to(now.steady);
        let is_ahead = now.wall.saturating_sub(carried) > JUMP_MILLIS;
        let doubted = is_ahead.then(|| *self.doubted.get_or_insert(now.steady));
        let is_doubted = doubted.is_some_and(|since| now.steady.saturating_duration_since(since) < DOUBT);
        let settled = if is_doubted {
            carried
        } else {
            (self.believed, self.doubted) = (now, None);
            now.wall
        };
        Looked { jump: (jump.abs() > JUMP_MILLIS).then_some(jump), settled }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000;
    const DAY: i64 = 86_400_000;

    /// A clock, and readings of it: after so many seconds, when the wall clock is off by so many milliseconds.
    fn clock() -> (Clock, impl Fn(u64, i64) -> Reading) {
        let begun = Instant::now();
        let at = move |seconds: u64, off: i64| Reading {
            steady: begun + Duration::from_secs(seconds),
            wall: NOW + i64::try_from(seconds).unwrap() * 1000 + off,
        };
        (Clock::new(at(0, 0)), at)
    }

    #[test]
    fn a_jump_is_told_once_and_what_is_slewed_is_none() {
        let (mut clock, at) = clock();
        let mut jumps = |seconds, off| clock.look(at(seconds, off)).jump;
        assert_eq!(jumps(1, 0), None);
        assert_eq!(jumps(2, 500), None);
        assert_eq!(jumps(3, 1500), None);
        assert_eq!(jumps(4, 1500 + DAY), Some(DAY));
        assert_eq!(jumps(5, 1500 + DAY), None);
        assert_eq!(jumps(6, 0), Some(-DAY - 1500));
        assert_eq!(jumps(7, 0), None);
    }

    #[test]
    fn a_jump_forwards_is_believed_after_an_hour_and_one_backwards_at_once() {
        let (mut clock, at) = clock();
        let mut settled = |seconds: u64, off| {
            clock.look(at(seconds, off)).settled - NOW - i64::try_from(seconds).unwrap() * 1000
        };
        assert_eq!(settled(1, 40), 40);
        assert_eq!(settled(2, DAY), 40);
        assert_eq!(settled(3000, DAY), 40);
        assert_eq!(settled(3000, 2 * DAY), 40, "a second jump does not begin the hour anew");
        assert_eq!(settled(3603, 2 * DAY), 2 * DAY);
        assert_eq!(settled(3700, -DAY), -DAY);
        assert_eq!(settled(3800, -DAY), -DAY);
    }

    #[test]
    fn a_clock_that_was_wrong_for_a_while_has_destroyed_nothing() {
        let (mut clock, at) = clock();
        let mut settled = |seconds: u64, off| {
            clock.look(at(seconds, off)).settled - NOW - i64::try_from(seconds).unwrap() * 1000
        };
        assert_eq!([settled(1, DAY), settled(60, DAY), settled(61, 0), settled(7200, 0)], [0; 4]);
    }
}
