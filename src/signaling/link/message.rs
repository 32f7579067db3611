//! What nodes say to each other.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    super::{
        CallRecord, NodeName, RoomId, SessionId, Status, UserId,
        deliver::{Parcel, Receipt},
        directory::{RoomMember, SessionEntry},
        session::queue::Answer,
    },
    codec::{self, NODE_BYTES, REQUEST_BYTES, ROOM_BYTES, USER_BYTES},
    wire::{Reader, Writer},
};

/// Something said to another node.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Message {
    /// All that was told before is void unless it is told again before [`End`](Self::End).
    Begin,
    /// All is told.
    End,
    /// Tell all again.
    Again,
    /// A session of the sender, new or as it is now; if it came from elsewhere, with all rooms it is in.
    Up(SessionEntry, Vec<(RoomId, Bytes)>),
    /// How a session of the sender is now.
    Changed(Change),
    /// A session of the sender is over.
    Down(SessionId, u32),
    /// A session of the sender is in a room.
    Join(RoomId, RoomMember),
    /// A session of the sender is no longer in a room.
    Leave(RoomId, SessionId),
    /// How a call of the sender stands.
    Call(Box<CallRecord>),
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
    /// Frames to these sessions of the receiver were lost.
    Lost(Vec<SessionId>),
    /// A client came to resume this session: hand it over.
    Take {
        /// Which.
        session: SessionId,
        /// Whose the client is.
        user: UserId,
        /// SHA-256 of the token it showed.
        token: [u8; 32],
    },
    /// Here it is.
    Taken(SessionId, Bytes),
    /// It is not given.
    NotTaken(SessionId),
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
    /// Comes after all that was sent to a session on the way it had before it moved.
    Fence {
        /// Which.
        session: SessionId,
        /// Who sent it.
        origin: NodeName,
        /// Its number.
        number: u64,
    },
    /// A fence of the receiver has reached its session.
    Passed(SessionId, u64),
}

/// How a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) session: SessionId,
    pub(super) role: super::super::Role,
    pub(super) status: Status,
    pub(super) is_attached: bool,
    pub(super) load: u16,
}

/// Sessions that one frame is for.
pub(super) const TO_MAX: usize = 4096;
/// Sessions of which frames were lost, in one message.
pub(super) const LOST_MAX: usize = 65_536;
/// Rooms of a session.
const ROOMS_MAX: usize = 65_536;
/// Bytes of a frame, or of anything else that is passed on.
const TAIL_BYTES: usize = 8 << 20;

impl Message {
    pub(super) fn write(&self, writer: &mut Writer) {
        match self {
            Self::Begin => writer.byte(0),
            Self::End => writer.byte(1),
            Self::Again => writer.byte(2),
            Self::Up(entry, rooms) => {
                codec::write_entry(writer.byte(3), entry).list(rooms.iter(), |writer, (room, state)| {
                    writer.text(room.as_str()).blob(state);
                })
            }
            Self::Changed(change) => write_change(writer.byte(4), change),
            Self::Down(session, generation) => writer.byte(5).id(session.0).number(u64::from(*generation)),
            Self::Join(room, member) => {
                writer.byte(6).text(room.as_str()).id(member.session.0).blob(&member.state)
            }
            Self::Leave(room, session) => writer.byte(7).text(room.as_str()).id(session.0),
            Self::Call(call) => codec::write_call(writer.byte(8), call),
            Self::Frame { to, tail, receipt } => write_frame(writer, to, tail, receipt.as_ref()),
            Self::Answer { to, id, answer } => codec::write_answer(writer.byte(10).id(to.0).text(id), answer),
            Self::ToCall { caller, from, id, body } => {
                writer.byte(11).option(caller.as_ref(), |writer, caller| {
                    writer.id(caller.0);
                });
                writer.id(from.0).option(id.as_ref(), |writer, id| {
                    writer.text(id);
                });
                writer.blob(body)
            }
            Self::Lost(sessions) => writer.byte(12).list(sessions.iter(), |writer, session| {
                writer.id(session.0);
            }),
            Self::Take { session, user, token } => {
                writer.byte(13).id(session.0).text(user.as_str()).blob(token)
            }
            Self::Taken(session, pack) => writer.byte(14).id(session.0).blob(pack),
            Self::NotTaken(session) => writer.byte(15).id(session.0),
            Self::Moved { session, to, generation } => {
                writer.byte(16).id(session.0).text(&to.0).number(u64::from(*generation))
            }
            Self::Seen(session, generation) => writer.byte(17).id(session.0).number(u64::from(*generation)),
            Self::Fence { session, origin, number } => {
                writer.byte(18).id(session.0).text(&origin.0).number(*number)
            }
            Self::Passed(session, number) => writer.byte(19).id(session.0).number(*number),
        };
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let session = |reader: &mut Reader<'_>| reader.id().map(SessionId);
        Some(match reader.byte()? {
            0 => Self::Begin,
            1 => Self::End,
            2 => Self::Again,
            3 => Self::Up(
                codec::read_entry(reader)?,
                reader.list(ROOMS_MAX, |reader| {
                    Some((RoomId::parse(reader.text(ROOM_BYTES)?)?, codec::read_json(reader, TAIL_BYTES)?))
                })?,
            ),
            4 => Self::Changed(read_change(reader)?),
            5 => Self::Down(session(reader)?, reader.small()?),
            6 => {
                let room = RoomId::parse(reader.text(ROOM_BYTES)?)?;
                Self::Join(
                    room,
                    RoomMember { session: session(reader)?, state: codec::read_json(reader, TAIL_BYTES)? },
                )
            }
            7 => Self::Leave(RoomId::parse(reader.text(ROOM_BYTES)?)?, session(reader)?),
            8 => Self::Call(Box::new(codec::read_call(reader)?)),
            9 => Self::Frame {
                to: reader.list(TO_MAX, session)?,
                receipt: reader.option(codec::read_receipt)?,
                tail: codec::read_json(reader, TAIL_BYTES)?,
            },
            10 => Self::Answer {
                to: session(reader)?,
                id: reader.text(REQUEST_BYTES)?.into(),
                answer: codec::read_answer(reader)?,
            },
            11 => Self::ToCall {
                caller: reader.option(session)?,
                from: session(reader)?,
                id: reader.option(|reader| reader.text(REQUEST_BYTES).map(Arc::from))?,
                body: reader.bytes(TAIL_BYTES)?,
            },
            12 => Self::Lost(reader.list(LOST_MAX, session)?),
            13 => Self::Take {
                session: session(reader)?,
                user: UserId::parse(reader.text(USER_BYTES)?)?,
                token: reader.blob(32)?.try_into().ok()?,
            },
            14 => Self::Taken(session(reader)?, reader.bytes(usize::MAX)?),
            15 => Self::NotTaken(session(reader)?),
            16 => Self::Moved {
                session: session(reader)?,
                to: codec::read_node(reader)?,
                generation: reader.small()?,
            },
            17 => Self::Seen(session(reader)?, reader.small()?),
            18 => Self::Fence {
                session: session(reader)?,
                origin: NodeName(reader.text(NODE_BYTES)?.into()),
                number: reader.number()?,
            },
            19 => Self::Passed(session(reader)?, reader.number()?),
            20.. => return None,
        })
    }

    /// What is to reach a session, as it goes to the node where that is.
    pub(super) fn of_parcel(to: SessionId, parcel: Parcel) -> Self {
        match parcel {
            Parcel::Frame { tail, receipt } => Self::Frame { to: vec![to], tail, receipt },
            Parcel::Answer { id, answer } => Self::Answer { to, id, answer },
        }
    }
}

/// A frame without a [`Message`] around it: it is the one that comes most.
pub(super) fn write_frame<'a>(
    writer: &'a mut Writer,
    to: &[SessionId],
    tail: &[u8],
    receipt: Option<&Receipt>,
) -> &'a mut Writer {
    writer.byte(9).list(to.iter(), |writer, session| {
        writer.id(session.0);
    });
    writer.option(receipt, codec::write_receipt).blob(tail)
}

fn write_change<'a>(writer: &'a mut Writer, change: &Change) -> &'a mut Writer {
    writer
        .id(change.session.0)
        .byte(codec::role_number(change.role))
        .byte(codec::status_number(change.status))
        .flag(change.is_attached)
        .number(u64::from(change.load))
}

fn read_change(reader: &mut Reader<'_>) -> Option<Change> {
    Some(Change {
        session: SessionId(reader.id()?),
        role: codec::read_role(reader)?,
        status: codec::read_status(reader)?,
        is_attached: reader.flag()?,
        load: reader.small()?,
    })
}
