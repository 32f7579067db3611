//! What goes to sessions, from node to node.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    super::{
        super::{
            NodeName, SessionId,
            deliver::{Parcel, Receipt},
            session::queue::Answer,
        },
        codec::{self, REQUEST_BYTES},
        wire::{Reader, Writer},
    },
    TAIL_BYTES, read_session,
};

/// On its way to a session, in order with all else that is.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::signaling::link) enum Carried {
    /// For sessions of the receiver, or those it knows the way to.
    Frame {
        /// Which.
        to: Vec<SessionId>,
        /// The frame.
        tail: Bytes,
        /// Who wants to know that it arrived.
        receipt: Option<Receipt>,
    },
    /// The answer to a request of a session.
    Answer {
        /// Which.
        to: SessionId,
        /// The request.
        id: Arc<str>,
        /// What it was answered.
        answer: Answer,
    },
    /// A frame about a call, for the node that has it.
    ToCall {
        /// The caller, if the call is where that session is; otherwise it is at the receiver.
        caller: Option<SessionId>,
        /// Who sent it.
        from: SessionId,
        /// Its name as a request.
        id: Option<Arc<str>>,
        /// The frame.
        body: Bytes,
    },
    /// Comes after all that was sent to a session on the way it had before it moved.
    Fence {
        /// Which.
        session: SessionId,
        /// Who sent it.
        origin: NodeName,
        /// Its number.
        number: u64,
    },
}

/// Sessions that one frame is for.
pub(in crate::signaling::link) const TO_MAX: usize = 4096;

impl Carried {
    /// What is to reach a session.
    pub(in crate::signaling::link) fn of_parcel(to: SessionId, parcel: Parcel) -> Self {
        match parcel {
            Parcel::Frame { tail, receipt } => Self::Frame { to: vec![to], tail, receipt },
            Parcel::Answer { id, answer } => Self::Answer { to, id, answer },
        }
    }

    pub(super) fn write<'a>(&self, writer: &'a mut Writer) -> &'a mut Writer {
        match self {
            Self::Frame { to, tail, receipt } => {
                writer.byte(0).list(to.iter(), |writer, session| {
                    writer.id(session.0);
                });
                writer.option(receipt.as_ref(), codec::write_receipt).blob(tail)
            }
            Self::Answer { to, id, answer } => codec::write_answer(writer.byte(1).id(to.0).text(id), answer),
            Self::ToCall { caller, from, id, body } => {
                writer.byte(2).option(caller.as_ref(), |writer, caller| {
                    writer.id(caller.0);
                });
                writer.id(from.0).option(id.as_ref(), |writer, id| {
                    writer.text(id);
                });
                writer.blob(body)
            }
            Self::Fence { session, origin, number } => {
                writer.byte(3).id(session.0).text(&origin.0).number(*number)
            }
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(match reader.byte()? {
            0 => Self::Frame {
                to: reader.list(TO_MAX, read_session)?,
                receipt: reader.option(codec::read_receipt)?,
                tail: codec::read_json(reader, TAIL_BYTES)?,
            },
            1 => Self::Answer {
                to: read_session(reader)?,
                id: reader.text(REQUEST_BYTES)?.into(),
                answer: codec::read_answer(reader)?,
            },
            2 => Self::ToCall {
                caller: reader.option(read_session)?,
                from: read_session(reader)?,
                id: reader.option(|reader| reader.text(REQUEST_BYTES).map(Arc::from))?,
                body: reader.bytes(TAIL_BYTES)?,
            },
            3 => Self::Fence {
                session: read_session(reader)?,
                origin: codec::read_node(reader)?,
                number: reader.number()?,
            },
            4.. => return None,
        })
    }
}
