//! What nodes say to each other.
//!
//! A byte tells what it is about, the next one what it is of that; the rest is as each of them writes itself.

mod carried;
mod moving;
mod taking;
mod told;

pub(super) use self::{
    carried::{Carried, TO_MAX},
    moving::Moving,
    taking::{Take, Taking},
    told::{Change, Told},
};
use super::{
    super::SessionId,
    wire::{Reader, Writer},
};

/// Something said to another node.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Message {
    /// What there is at the sender.
    Told(Told),
    /// On its way to a session.
    Carried(Carried),
    /// Frames to these sessions of the receiver were lost.
    Lost(Vec<SessionId>),
    /// A session is to come to where its client is.
    Taking(Taking),
    /// A session has moved.
    Moving(Moving),
}

/// Sessions of which frames were lost, in one message.
pub(super) const LOST_MAX: usize = 65_536;
/// Bytes of a frame, or of anything else that is passed on.
const TAIL_BYTES: usize = 8 << 20;

impl Message {
    pub(super) fn write(&self, writer: &mut Writer) {
        match self {
            Self::Told(told) => told.write(writer.byte(0)),
            Self::Carried(carried) => carried.write(writer.byte(1)),
            Self::Lost(sessions) => writer.byte(2).list(sessions.iter(), |writer, session| {
                writer.id(session.0);
            }),
            Self::Taking(taking) => taking.write(writer.byte(3)),
            Self::Moving(moving) => moving.write(writer.byte(4)),
        };
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(match reader.byte()? {
            0 => Self::Told(Told::read(reader)?),
            1 => Self::Carried(Carried::read(reader)?),
            2 => Self::Lost(reader.list(LOST_MAX, read_session)?),
            3 => Self::Taking(Taking::read(reader)?),
            4 => Self::Moving(Moving::read(reader)?),
            5.. => return None,
        })
    }
}

impl From<Told> for Message {
    fn from(told: Told) -> Self {
        Self::Told(told)
    }
}

impl From<Carried> for Message {
    fn from(carried: Carried) -> Self {
        Self::Carried(carried)
    }
}

impl From<Taking> for Message {
    fn from(taking: Taking) -> Self {
        Self::Taking(taking)
    }
}

impl From<Moving> for Message {
    fn from(moving: Moving) -> Self {
        Self::Moving(moving)
    }
}

fn read_session(reader: &mut Reader<'_>) -> Option<SessionId> {
    reader.id().map(SessionId)
}
