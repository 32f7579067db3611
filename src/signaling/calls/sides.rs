//! The two who talk: which sessions they have, and whether those can be reached.

use super::{
    super::{Instant, Party, Place, SessionId},
    call::{Call, Stand},
};

/// Whether a side can be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Presence {
    /// It has a socket.
    #[default]
    Here,
    /// It has none, and is lost at that time.
    Away(Instant),
    /// The other side was told that it is lost.
    Lost,
}

/// One of the two who talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Who called.
    Caller,
    /// Who answered.
    Answerer,
}

/// What is known of a session that a party had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whereabouts {
    /// It has a socket.
    Attached,
    /// It has none.
    Detached,
    /// It is over.
    Gone,
}

impl Call {
    /// Which side a session takes, or takes over: its own, or that of a session of the same user that is gone, has no
    /// socket, or was at the same device.
    pub(super) fn side_of(
        &self,
        place: &Place,
        whereabouts: impl Fn(SessionId) -> Whereabouts,
    ) -> Option<Side> {
        if let Stand::Party(side) = self.stand(place.session) {
            return Some(side);
        }
        let sides = [Side::Caller, Side::Answerer].into_iter().filter(|side| {
            self.party(*side).is_some_and(|party| {
                party.user == place.user
                    && (party.device == place.device || whereabouts(party.session) != Whereabouts::Attached)
            })
        });
        sides.min_by_key(|side| {
            self.party(*side).map_or(3, |party| match whereabouts(party.session) {
                Whereabouts::Gone => 0,
                Whereabouts::Detached => 1,
                Whereabouts::Attached => 2,
            })
        })
    }

    pub(super) fn party(&self, side: Side) -> Option<&Party> {
        match side {
            Side::Caller => Some(&self.record.caller),
            Side::Answerer => self.record.answerer.as_ref(),
        }
    }

    pub(super) fn presence(&mut self, side: Side) -> &mut Presence {
        match side {
            Side::Caller => &mut self.caller,
            Side::Answerer => &mut self.answerer,
        }
    }

    /// A side goes on with another session; says whom to tell.
    pub(super) fn take_side(&mut self, side: Side, place: &Place) -> Option<SessionId> {
        let party = Party { user: place.user.clone(), device: place.device.clone(), session: place.session };
        match side {
            Side::Caller => self.record.caller = party,
            Side::Answerer => self.record.answerer = Some(party),
        }
        *self.presence(side) = Presence::Here;
        self.devices.retain(|device| device.place.session != place.session);
        self.is_active().then(|| self.party(side.other()).map(|party| party.session)).flatten()
    }

    /// A side has a socket, or has none; whether that is news.
    pub(super) fn set_presence(&mut self, side: Side, is_here: bool, lost_at: Instant) -> bool {
        let presence = self.presence(side);
        let next = match (*presence, is_here) {
            (Presence::Here, true) | (Presence::Away(_) | Presence::Lost, false) => return false,
            (Presence::Away(_) | Presence::Lost, true) => Presence::Here,
            (Presence::Here, false) => Presence::Away(lost_at),
        };
        *presence = next;
        true
    }

    /// The sides whose time is over are lost from now on.
    pub(super) fn lose_sides(&mut self, now: Instant) -> Vec<Side> {
        let mut lost = Vec::new();
        for side in [Side::Caller, Side::Answerer] {
            if self.presence(side).due().is_some_and(|at| at <= now) {
                *self.presence(side) = Presence::Lost;
                lost.push(side);
            }
        }
        lost
    }

    pub(super) fn is_lost(&self) -> bool {
        self.is_active() && self.caller == Presence::Lost && self.answerer == Presence::Lost
    }
}

impl Side {
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Caller => Self::Answerer,
            Self::Answerer => Self::Caller,
        }
    }

    /// Whether it gives way when both describe at once: who was called does.
    pub(super) const fn is_polite(self) -> bool {
        matches!(self, Self::Answerer)
    }
}

impl Presence {
    pub(super) const fn due(self) -> Option<Instant> {
        match self {
            Self::Away(until) => Some(until),
            Self::Here | Self::Lost => None,
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Here => "back",
            Self::Away(_) => "away",
            Self::Lost => "lost",
        }
    }
}
