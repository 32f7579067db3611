//! What nodes say of sessions that move, so that nothing overtakes anything.

use super::{
    super::{
        super::{NodeName, SessionId},
        codec,
        wire::{Reader, Writer},
    },
    read_session,
};

/// About a session that has moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::signaling::link) enum Moving {
    /// A session of the sender lives at another node from now on.
    Moved {
        /// Which.
        session: SessionId,
        /// Where.
        to: NodeName,
        /// How often it moved.
        generation: u32,
    },
    /// All that came of a session before it moved to the receiver has arrived at the sender.
    Seen(SessionId, u32),
    /// A fence of the receiver has reached its session.
    Passed(SessionId, u64),
}

impl Moving {
    pub(super) fn write<'a>(&self, writer: &'a mut Writer) -> &'a mut Writer {
        match self {
            Self::Moved { session, to, generation } => {
                writer.byte(0).id(session.0).text(&to.0).number(u64::from(*generation))
            }
            Self::Seen(session, generation) => writer.byte(1).id(session.0).number(u64::from(*generation)),
            Self::Passed(session, number) => writer.byte(2).id(session.0).number(*number),
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(match reader.byte()? {
            0 => Self::Moved {
                session: read_session(reader)?,
                to: codec::read_node(reader)?,
                generation: reader.small()?,
            },
            1 => Self::Seen(read_session(reader)?, reader.small()?),
            2 => Self::Passed(read_session(reader)?, reader.number()?),
            3.. => return None,
        })
    }
}
