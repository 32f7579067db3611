//! Why users fail: a bounded recent history, for people who ask.
//!
//! Only what is refused or dropped gets here, never a packet that is relayed. What a client did that proved its
//! credential is kept apart from what was done in somebody's name: no stranger can push out what is known of a user.

mod incident;
mod noting;
mod table;

use std::{
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

pub use incident::{Cause, Incident};
pub(super) use noting::troubles;
use table::{Bounds, Table};

/// The most that is noted in one second of clients that proved nothing, all together.
const STRANGERS_NOTED_PER_SECOND: u32 = 64;
/// The most that is kept of a user for whom nobody proved anything.
const STRANGER_INCIDENTS_MAX: usize = 4;
/// Of all bytes, what strangers get: one of so many.
const STRANGERS_SHARE: usize = 8;

/// How much is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLimits {
    /// Whether anything is.
    pub is_on: bool,
    /// Users who proved a credential.
    pub users: u32,
    /// Names that were used without proof.
    pub strangers: u32,
    /// Different things that went wrong for one user; the oldest is forgotten.
    pub incidents_per_user: u16,
    /// All of it together.
    pub bytes: usize,
    /// Nothing is told that is older.
    pub age: Duration,
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self {
            is_on: true,
            users: 10_000,
            strangers: 1000,
            incidents_per_user: 16,
            bytes: 16 << 20,
            age: Duration::from_secs(86_400),
        }
    }
}

/// What went wrong for whom in the whole process. One lock, taken where something is refused or ends, never for a
/// packet that is relayed.
pub struct History {
    is_on: AtomicBool,
    tables: Mutex<Tables>,
}

#[derive(Default)]
struct Tables {
    limits: HistoryLimits,
    proved: Table,
    strangers: Table,
    /// In the second that strangers were last noted in, how many.
    noted: (u64, u32),
    not_kept: u64,
}

/// How much a [`History`] holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistorySize {
    /// Users who proved a credential.
    pub users: usize,
    /// Names that were used without proof.
    pub strangers: usize,
    /// About what all of it takes.
    pub bytes: usize,
    /// Incidents of strangers that were only counted.
    pub not_kept: u64,
}

impl Default for History {
    fn default() -> Self {
        let tables = Tables::default();
        Self { is_on: AtomicBool::new(tables.limits.is_on), tables: Mutex::new(tables) }
    }
}

impl History {
    /// Takes over other limits, and forgets what is beyond them.
    pub fn set_limits(&self, limits: HistoryLimits) {
        self.is_on.store(limits.is_on, Ordering::Relaxed);
        let mut tables = self.lock();
        tables.limits = limits;
        let (proved, strangers) = (limits.proved(), limits.of_strangers());
        tables.proved.keep_to(&proved);
        tables.strangers.keep_to(&strangers);
    }

    /// Whether anything is remembered.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Remembers what went wrong for `user`.
    pub fn note(&self, user: &str, incident: Incident) {
        if !self.is_on() {
            return;
        }
        let mut guard = self.lock();
        let tables = &mut *guard;
        if incident.is_proved {
            return tables.proved.note(&tables.limits.proved(), user, incident);
        }
        if tables.noted.0 != incident.last_unix {
            tables.noted = (incident.last_unix, 0);
        }
        if tables.noted.1 >= STRANGERS_NOTED_PER_SECOND {
            tables.not_kept += 1;
            return;
        }
        tables.noted.1 += 1;
        tables.strangers.note(&tables.limits.of_strangers(), user, incident);
    }

    /// Counts what a stranger did and that is not kept.
    pub(super) fn pass_over(&self) {
        self.lock().not_kept += 1;
    }

    /// What went wrong for `user`, the newest first.
    #[must_use]
    pub fn of_user(&self, user: &str, now_unix: u64) -> Vec<Incident> {
        let tables = self.lock();
        let mut all = tables.proved.of_user(&tables.limits.proved(), user, now_unix);
        all.extend(tables.strangers.of_user(&tables.limits.of_strangers(), user, now_unix));
        drop(tables);
        all.reverse();
        // Stable: of one second, the order they were noted in.
        all.sort_by_key(|incident| std::cmp::Reverse(incident.last_unix));
        all
    }

    /// Forgets what is too old, so that it is not in memory either.
    pub fn forget_old(&self, now_unix: u64) {
        let mut guard = self.lock();
        let tables = &mut *guard;
        tables.proved.forget_old(&tables.limits.proved(), now_unix);
        tables.strangers.forget_old(&tables.limits.of_strangers(), now_unix);
    }

    /// How much there is.
    #[must_use]
    pub fn size(&self) -> HistorySize {
        let tables = self.lock();
        HistorySize {
            users: tables.proved.users(),
            strangers: tables.strangers.users(),
            bytes: tables.proved.bytes() + tables.strangers.bytes(),
            not_kept: tables.not_kept,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        // Whatever a thread left behind that panicked is bounded all the same.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HistoryLimits {
    fn proved(&self) -> Bounds {
        self.bounds(
            self.users,
            usize::from(self.incidents_per_user),
            self.bytes - self.bytes / STRANGERS_SHARE,
        )
    }

    fn of_strangers(&self) -> Bounds {
        let incidents = usize::from(self.incidents_per_user).min(STRANGER_INCIDENTS_MAX);
        self.bounds(self.strangers, incidents, self.bytes / STRANGERS_SHARE)
    }

    fn bounds(&self, users: u32, incidents_per_user: usize, bytes: usize) -> Bounds {
        let users = if self.is_on { users as usize } else { 0 };
        Bounds { users, incidents_per_user, bytes, age_seconds: self.age.as_secs() }
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History").field("size", &self.size()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
