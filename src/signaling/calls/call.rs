//! One call: who rings, who answered, who is away. Only decisions: what follows from them is done elsewhere.

use bytes::Bytes;

use super::{
    super::{CallId, CallRecord, CallState, Instant, Limits, Party, Place, SessionId, UserId},
    sides::{Presence, Side},
};

/// A call as the node that keeps it knows it; other nodes know it without the offer and the candidates.
#[derive(Clone, Debug)]
pub(in crate::signaling) struct Call {
    /// What is told of it.
    pub(super) record: CallRecord,
    /// Whom it is for.
    pub(super) target: Target,
    /// When it stops ringing.
    pub(super) expires: Instant,
    /// When it was offered.
    pub(super) offered: Instant,
    /// When the first device rang.
    pub(super) rung: Option<Instant>,
    /// The frame that devices get; empty once it is answered, or if it was lost with a node.
    pub(super) offer: Bytes,
    /// The caller's candidates, for devices that come late.
    pub(super) candidates: Kept,
    /// Whom it was offered to.
    pub(super) devices: Vec<Device>,
    /// Whether the caller's session has a socket.
    pub(super) caller: Presence,
    /// Whether the answerer's session has one.
    pub(super) answerer: Presence,
    /// Whether the backend was told to wake a device.
    pub(super) is_pushed: bool,
    /// Which timer of it is meant.
    pub(super) generation: u32,
}

/// Whom a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// All devices of the callee.
    User,
    /// One session of the callee.
    Session,
    /// The members of a room.
    Room,
}

/// A session that a call was offered to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Device {
    /// Which.
    pub(super) place: Place,
    /// Whether it may still answer.
    pub(super) is_asked: bool,
    /// Whether it said that it rings.
    pub(super) has_rung: bool,
    /// Its candidates, until it answers.
    pub(super) candidates: Option<Box<Kept>>,
}

/// Candidates that wait, as frames.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) frames: Vec<Bytes>,
    pub(super) count: usize,
    bytes: usize,
}

/// Devices of a call, with those that are gone.
const DEVICES_MAX: usize = 1024;
/// Bytes of candidates that wait for one device.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// What a session is to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// One of the two who talk, or will.
    Party(Side),
    /// It rings, at this place of the devices.
    Rings(usize),
    /// It said no.
    Refused,
    /// Another device was first.
    Late,
    /// Nothing.
    Stranger,
}

/// What became of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Won {
    /// What the winner sent before it answered.
    pub(super) candidates: Vec<Bytes>,
    /// Who rang as well.
    pub(super) losers: Vec<SessionId>,
}

/// What became of a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// Other devices that stop ringing for it.
    pub(super) others: Vec<SessionId>,
    /// Whether nobody is asked any more.
    pub(super) is_last: bool,
}

impl Call {
    /// A call of another node, of which only the record is known.
    pub(super) fn known(now: Instant, record: CallRecord, expires: Instant) -> Self {
        let target = if record.room.is_some() { Target::Room } else { Target::User };
        Self {
            record,
            target,
            expires,
            offered: now,
            rung: None,
            offer: Bytes::new(),
            candidates: Kept::default(),
            devices: Vec::new(),
            caller: Presence::Here,
            answerer: Presence::Here,
            is_pushed: true,
            generation: 0,
        }
    }

    pub(super) fn id(&self) -> &CallId {
        &self.record.id
    }

    pub(super) fn is_ringing(&self) -> bool {
        self.record.state == CallState::Ringing
    }

    pub(super) fn is_active(&self) -> bool {
        self.record.state == CallState::Active
    }

    pub(super) fn is_ended(&self) -> bool {
        self.record.state == CallState::Ended
    }

    /// What a session is to this call.
    pub(super) fn stand(&self, session: SessionId) -> Stand {
        if self.record.caller.session == session {
            return Stand::Party(Side::Caller);
        }
        if self.record.answerer.as_ref().is_some_and(|answerer| answerer.session == session) {
            return Stand::Party(Side::Answerer);
        }
        match self.devices.iter().position(|device| device.place.session == session) {
            None => Stand::Stranger,
            Some(index) => match self.devices.get(index) {
                Some(device) if !device.is_asked => Stand::Refused,
                Some(_) if self.is_ringing() => Stand::Rings(index),
                Some(_) | None => Stand::Late,
            },
        }
    }

    /// Whether a user has to do with this call, at whatever device.
    pub(super) fn concerns(&self, place: &Place) -> bool {
        let record = &self.record;
        record.caller.user == place.user
            || record.callee.as_ref() == Some(&place.user)
            || record.answerer.as_ref().is_some_and(|answerer| answerer.user == place.user)
            || self.devices.iter().any(|device| device.place.user == place.user)
    }

    /// A device that may answer; `false` if it is known already, or there are too many.
    pub(super) fn add_device(&mut self, place: Place) -> bool {
        if self.devices.len() >= DEVICES_MAX
            || self.devices.iter().any(|device| device.place.session == place.session)
        {
            return false;
        }
        self.devices.push(Device { place, is_asked: true, has_rung: false, candidates: None });
        self.record.devices = self.record.devices.saturating_add(1);
        true
    }

    /// The same for one that has the offer, as far as can be known: it was counted when it got it.
    pub(super) fn add_found_device(&mut self, place: Place) -> bool {
        let counted = self.record.devices;
        let is_added = self.add_device(place);
        self.record.devices = counted;
        is_added
    }

    /// Those that ring.
    pub(super) fn ringing(&self) -> Vec<SessionId> {
        if !self.is_ringing() {
            return Vec::new();
        }
        self.devices.iter().filter(|device| device.is_asked).map(|device| device.place.session).collect()
    }

    /// A device says that it rings; whether it is the first time.
    pub(super) fn ring(&mut self, index: usize) -> bool {
        self.devices.get_mut(index).is_some_and(|device| !std::mem::replace(&mut device.has_rung, true))
    }

    /// A device answers: it is the winner.
    pub(super) fn answer(&mut self, index: usize) -> Option<Won> {
        debug_assert!(self.is_ringing(), "only what rings is answered");
        let winner = self.devices.get_mut(index)?;
        let candidates = winner.candidates.take().map(|kept| kept.frames).unwrap_or_default();
        let place = winner.place.clone();
        let losers = self.ringing().into_iter().filter(|session| *session != place.session).collect();
        self.record.answerer = Some(Party { user: place.user, device: place.device, session: place.session });
        self.record.state = CallState::Active;
        self.forget_descriptions();
        Some(Won { candidates, losers })
    }

    /// A device says no, for itself or for its user.
    pub(super) fn refuse(&mut self, index: usize, is_device_only: bool) -> Refused {
        let mut others = Vec::new();
        let Some(place) = self.devices.get(index).map(|device| device.place.clone()) else {
            return Refused { others, is_last: false };
        };
        for device in self.devices.iter_mut().filter(|device| device.is_asked) {
            let is_it = device.place.session == place.session;
            if is_it || (!is_device_only && device.place.user == place.user) {
                device.is_asked = false;
                device.candidates = None;
                if !is_it {
                    others.push(device.place.session);
                }
            }
        }
        Refused { others, is_last: !self.devices.iter().any(|device| device.is_asked) }
    }

    /// A session is over: it rings no more. Whether it did.
    pub(super) fn lose_device(&mut self, session: SessionId) -> bool {
        let is_it = |device: &&mut Device| device.place.session == session && device.is_asked;
        match self.devices.iter_mut().find(is_it) {
            Some(device) => {
                device.is_asked = false;
                device.candidates = None;
                self.record.state == CallState::Ringing
            }
            None => false,
        }
    }

    /// Whether a session that is new belongs to whom this call is for.
    pub(super) fn is_for(&self, place: &Place) -> bool {
        if !self.is_ringing() || self.record.caller.session == place.session {
            return false;
        }
        match self.target {
            Target::User => self.record.callee.as_ref() == Some(&place.user),
            // The session that was meant is gone, and this is the same device again.
            Target::Session => {
                self.record.callee.as_ref() == Some(&place.user)
                    && !place.device.is_empty()
                    && self
                        .devices
                        .iter()
                        .all(|device| !device.is_asked && device.place.device == place.device)
            }
            Target::Room => false,
        }
    }

    /// Whether each of two users calls the other.
    pub(super) fn crosses(&self, other: &Crossing<'_>) -> bool {
        self.is_ringing()
            && self.record.id != *other.call
            && self.record.caller.session != other.session
            && self.record.callee.as_ref() == Some(other.caller)
            && other.callee == Some(&self.record.caller.user)
    }

    /// It is over: nothing is kept but what is told of it.
    pub(super) fn forget_descriptions(&mut self) {
        self.offer = Bytes::new();
        self.candidates = Kept::default();
        for device in &mut self.devices {
            device.candidates = None;
        }
    }

    /// When something is to be done if nothing happens.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.record.state {
            CallState::Ringing => self.caller.due().into_iter().chain([self.expires]).min(),
            CallState::Active => [self.caller, self.answerer].into_iter().filter_map(Presence::due).min(),
            CallState::Ended => None,
        }
    }
}

/// What decides whether two offers cross.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crossing<'a> {
    pub(super) call: &'a CallId,
    pub(super) caller: &'a UserId,
    pub(super) session: SessionId,
    pub(super) callee: Option<&'a UserId>,
}

impl Kept {
    /// What another node kept.
    pub(super) fn restored(frames: Vec<Bytes>, count: usize) -> Self {
        let bytes = frames.iter().map(Bytes::len).sum();
        Self { frames, count, bytes }
    }

    /// Keeps a frame with so many candidates; `false` if that is too much.
    pub(super) fn push(&mut self, frame: Bytes, candidates: usize, limits: &Limits) -> bool {
        // The end of candidates counts as one, so that frames are bounded as well.
        let count = self.count + candidates.max(1);
        let bytes = self.bytes + frame.len();
        if count > limits.candidates_kept || bytes > KEPT_BYTES_MAX {
            return false;
        }
        (self.count, self.bytes) = (count, bytes);
        self.frames.push(frame);
        true
    }
}
