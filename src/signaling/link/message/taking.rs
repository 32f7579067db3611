//! What nodes say when a client came to another one than where its session is.

use bytes::Bytes;

use super::{
    super::{
        super::{SessionId, UserId},
        codec,
        wire::{Reader, Writer},
    },
    read_session,
};

/// About a session that is to come to where its client is.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::signaling::link) enum Taking {
    /// A client came to resume this session: hand it over.
    Take(Take),
    /// Here it is.
    Taken(SessionId, Bytes),
    /// It is not given.
    NotTaken(SessionId),
}

/// Who wants a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::signaling::link) struct Take {
    pub(in crate::signaling::link) session: SessionId,
    /// Whose the client is.
    pub(in crate::signaling::link) user: UserId,
    /// SHA-256 of the token it showed.
    pub(in crate::signaling::link) token: [u8; 32],
}

impl Taking {
    pub(super) fn write<'a>(&self, writer: &'a mut Writer) -> &'a mut Writer {
        match self {
            Self::Take(Take { session, user, token }) => {
                writer.byte(0).id(session.0).text(user.as_str()).blob(token)
            }
            Self::Taken(session, pack) => writer.byte(1).id(session.0).blob(pack),
            Self::NotTaken(session) => writer.byte(2).id(session.0),
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(match reader.byte()? {
            0 => Self::Take(Take {
                session: read_session(reader)?,
                user: codec::read_user(reader)?,
                token: reader.blob(32)?.try_into().ok()?,
            }),
            1 => Self::Taken(read_session(reader)?, reader.bytes(usize::MAX)?),
            2 => Self::NotTaken(read_session(reader)?),
            3.. => return None,
        })
    }
}
