//! Events as they are kept: what delivery must know of one, and its text.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::{CallView, SignalEvent};

/// Partitions: what a node takes over from another one at a time.
pub(crate) const PARTITIONS: u8 = 16;
/// The most steps of a call that are remembered.
pub(crate) const STEPS_MAX: usize = 128;

const FORMAT: u8 = 1;

/// Where an event waits: places of a partition only go up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(pub(crate) u128);

/// Counts up for a partition when there may be new events in it.
pub type EventNews = [u32; PARTITIONS as usize];

/// An event that is to be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingEvent {
    /// Where it waits.
    pub place: Place,
    /// What it is about, as a number: events with the same one are delivered one after the other.
    pub lane: u64,
    /// Its id.
    pub id: Box<str>,
    /// When it happened: milliseconds since the Unix epoch.
    pub time: u64,
    /// The JSON to be delivered.
    pub body: Bytes,
}

/// An event as it is kept, sealed in Redis and as it is elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptEvent {
    /// Whether somebody is to be told.
    pub(crate) is_delivered: bool,
    /// Whether the history of its call is to know it.
    pub(crate) is_listed: bool,
    /// See [`PendingEvent::lane`].
    pub(crate) lane: u64,
    /// When it happened: milliseconds since the Unix epoch.
    pub(crate) time: u64,
    /// Its id.
    pub(crate) id: Box<str>,
    /// Its JSON.
    pub(crate) body: Bytes,
}

impl Place {
    /// The place before this one.
    #[must_use]
    pub const fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl KeptEvent {
    /// `None` if it cannot be written as JSON.
    pub(crate) fn of(event: &SignalEvent, is_delivered: bool) -> Option<Self> {
        let (kind, name) = event.subject();
        Some(Self {
            is_delivered,
            is_listed: event.call.is_some(),
            lane: lane(kind, name),
            time: event.time,
            id: event.id.as_str().into(),
            body: serde_json::to_vec(event).ok()?.into(),
        })
    }

    pub(crate) const fn partition(&self) -> u8 {
        partition(self.lane)
    }

    pub(crate) fn pending(self, place: Place) -> PendingEvent {
        let Self { lane, id, time, body, .. } = self;
        PendingEvent { place, lane, id, time, body }
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(20 + self.id.len() + self.body.len());
        let flags = u8::from(self.is_delivered) | u8::from(self.is_listed) << 1;
        bytes.extend_from_slice(&[FORMAT, flags]);
        bytes.extend_from_slice(&self.lane.to_be_bytes());
        bytes.extend_from_slice(&self.time.to_be_bytes());
        // Ids are of our own making, and short.
        let id = self.id.as_bytes().get(..255).unwrap_or(self.id.as_bytes());
        bytes.push(u8::try_from(id.len()).unwrap_or_default());
        bytes.extend_from_slice(id);
        bytes.extend_from_slice(&self.body);
        bytes
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (&[format, flags], rest) = bytes.split_first_chunk::<2>()?;
        if format != FORMAT {
            return None;
        }
        let (lane, rest) = rest.split_first_chunk::<8>()?;
        let (time, rest) = rest.split_first_chunk::<8>()?;
        let (&length, rest) = rest.split_first()?;
        let (id, body) = rest.split_at_checked(usize::from(length))?;
        Some(Self {
            is_delivered: flags & 1 != 0,
            is_listed: flags & 2 != 0,
            lane: u64::from_be_bytes(*lane),
            time: u64::from_be_bytes(*time),
            id: std::str::from_utf8(id).ok()?.into(),
            body: Bytes::copy_from_slice(body),
        })
    }

    /// What waits already, to wait elsewhere.
    pub(crate) fn again(event: &PendingEvent) -> Self {
        let PendingEvent { lane, id, time, body, .. } = event.clone();
        Self { is_delivered: true, is_listed: false, lane, time, id, body }
    }

    /// The call that it is about.
    pub(crate) fn call(&self) -> Option<(CallView, super::CallStepView)> {
        if !self.is_listed {
            return None;
        }
        let event: SignalEvent = serde_json::from_slice(&self.body).ok()?;
        let step = event.step()?;
        Some((*event.call?, step))
    }
}

/// The partition of a lane.
pub(crate) const fn partition(lane: u64) -> u8 {
    (lane >> 60) as u8
}

fn lane(kind: &str, name: &str) -> u64 {
    let digest = Sha256::new().chain_update(kind).chain_update([0]).chain_update(name).finalize();
    digest.first_chunk::<8>().map_or(0, |start| u64::from_be_bytes(*start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_as_it_was_written() {
        let event = SignalEvent::new("node.draining", 7, "n1", (1, 2));
        let kept = KeptEvent::of(&event, true).unwrap();
        let bytes = kept.write();
        assert_eq!(KeptEvent::read(&bytes), Some(kept.clone()));
        for length in 0..18 + kept.id.len() {
            assert_eq!(KeptEvent::read(&bytes[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn lanes_spread_over_the_partitions() {
        let mut counts = [0; PARTITIONS as usize];
        for number in 0..1600 {
            counts[usize::from(partition(lane("call", &format!("c_{number}"))))] += 1;
        }
        assert!(counts.iter().all(|count| (50..200).contains(count)), "{counts:?}");
        assert_ne!(lane("call", "x"), lane("room", "x"));
    }
}
