//! Users and what went wrong for them, the one who was heard of longest ago first to be forgotten.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::Incident;

/// What a user takes beside name and incidents: entries of two maps, and what they leave unused.
const USER_BYTES: usize = 192;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) users: usize,
    pub(super) incidents_per_user: usize,
    pub(super) bytes: usize,
    pub(super) age_seconds: u64,
}

/// Users by name.
#[derive(Debug, Default)]
pub(super) struct Table {
    users: HashMap<Arc<str>, Known>,
    /// Whoever was heard of longest ago comes first.
    order: BTreeMap<u64, Arc<str>>,
    /// Counts what was noted.
    noted: u64,
    bytes: usize,
}

/// What is known of a user.
#[derive(Debug)]
struct Known {
    /// The place in the order.
    place: u64,
    /// The newest last.
    incidents: Vec<Incident>,
}

impl Table {
    /// Adds an incident, and forgets what there is no room for any more.
    pub(super) fn note(&mut self, bounds: &Bounds, user: &str, incident: Incident) {
        self.forget_old(bounds, incident.last_unix);
        let known = self.users.remove_entry(user);
        let (name, mut known) = match known {
            Some((name, known)) => {
                self.order.remove(&known.place);
                self.bytes = self.bytes.saturating_sub(cost(&name, &known));
                (name, known)
            }
            None => (Arc::from(user), Known { place: 0, incidents: Vec::new() }),
        };
        let again = known.incidents.iter().position(|before| before.is_like(&incident));
        let incident = match again.map(|place| known.incidents.remove(place)) {
            Some(before) => incident.after(&before),
            None => incident,
        };
        if known.incidents.len() >= bounds.incidents_per_user.max(1) {
            known.incidents.remove(0);
        }
        known.incidents.push(incident);
        self.noted += 1;
        known.place = self.noted;
        self.bytes += cost(&name, &known);
        self.order.insert(known.place, Arc::clone(&name));
        self.users.insert(name, known);
        self.keep_to(bounds);
    }

    /// What is not too old of a user's, the newest last.
    pub(super) fn of_user(&self, bounds: &Bounds, user: &str, now_unix: u64) -> Vec<Incident> {
        let Some(known) = self.users.get(user) else { return Vec::new() };
        let is_recent = |incident: &&Incident| !is_old(incident, bounds, now_unix);
        known.incidents.iter().filter(is_recent).cloned().collect()
    }

    /// Forgets users of whom nothing was heard for too long.
    pub(super) fn forget_old(&mut self, bounds: &Bounds, now_unix: u64) {
        while let Some((&place, name)) = self.order.first_key_value() {
            let last = self.users.get(name).and_then(|known| known.incidents.last());
            if last.is_some_and(|last| !is_old(last, bounds, now_unix)) {
                return;
            }
            self.forget(place);
        }
    }

    /// Forgets users until what is left is within the bounds.
    pub(super) fn keep_to(&mut self, bounds: &Bounds) {
        while self.users.len() > bounds.users || self.bytes > bounds.bytes {
            let Some((&place, _)) = self.order.first_key_value() else { return };
            self.forget(place);
        }
    }

    fn forget(&mut self, place: u64) {
        let Some(name) = self.order.remove(&place) else { return };
        if let Some(known) = self.users.remove(&name) {
            self.bytes = self.bytes.saturating_sub(cost(&name, &known));
        }
    }

    pub(super) fn users(&self) -> usize {
        self.users.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

fn is_old(incident: &Incident, bounds: &Bounds, now_unix: u64) -> bool {
    incident.last_unix.saturating_add(bounds.age_seconds) < now_unix
}

fn cost(name: &str, known: &Known) -> usize {
    USER_BYTES + name.len() + known.incidents.iter().map(Incident::bytes).sum::<usize>()
}
