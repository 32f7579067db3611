//! What there is at a node.

use bytes::Bytes;

use super::{
    super::{
        super::{
            CallRecord, Role, RoomId, SessionId, Status,
            directory::{RoomMember, SessionEntry},
        },
        codec::{self, ROOM_BYTES},
        wire::{Reader, Writer},
    },
    TAIL_BYTES, read_session,
};

/// What a node tells of its sessions, rooms and calls.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::signaling::link) enum Told {
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
}

/// How a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::signaling::link) struct Change {
    pub(in crate::signaling::link) session: SessionId,
    pub(in crate::signaling::link) role: Role,
    pub(in crate::signaling::link) status: Status,
    pub(in crate::signaling::link) is_attached: bool,
    pub(in crate::signaling::link) load: u16,
}

/// Rooms of a session.
const ROOMS_MAX: usize = 65_536;

impl Told {
    pub(super) fn write<'a>(&self, writer: &'a mut Writer) -> &'a mut Writer {
        match self {
            Self::Begin => writer.byte(0),
            Self::End => writer.byte(1),
            Self::Again => writer.byte(2),
            Self::Up(entry, rooms) => {
                codec::write_entry(writer.byte(3), entry).list(rooms.iter(), |writer, (room, state)| {
                    writer.text(room.as_str()).blob(state);
                })
            }
            Self::Changed(change) => change.write(writer.byte(4)),
            Self::Down(session, generation) => writer.byte(5).id(session.0).number(u64::from(*generation)),
            Self::Join(room, member) => {
                writer.byte(6).text(room.as_str()).id(member.session.0).blob(&member.state)
            }
            Self::Leave(room, session) => writer.byte(7).text(room.as_str()).id(session.0),
            Self::Call(call) => codec::write_call(writer.byte(8), call),
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(match reader.byte()? {
            0 => Self::Begin,
            1 => Self::End,
            2 => Self::Again,
            3 => {
                let entry = codec::read_entry(reader)?;
                let room = |reader: &mut Reader<'_>| Some((read_room(reader)?, read_state(reader)?));
                Self::Up(entry, reader.list(ROOMS_MAX, room)?)
            }
            4 => Self::Changed(Change::read(reader)?),
            5 => Self::Down(read_session(reader)?, reader.small()?),
            6 => {
                let room = read_room(reader)?;
                Self::Join(room, RoomMember { session: read_session(reader)?, state: read_state(reader)? })
            }
            7 => Self::Leave(read_room(reader)?, read_session(reader)?),
            8 => Self::Call(Box::new(codec::read_call(reader)?)),
            9.. => return None,
        })
    }
}

impl Change {
    /// How it is now.
    pub(in crate::signaling::link) fn of(entry: &SessionEntry) -> Self {
        Self {
            session: entry.id,
            role: entry.role,
            status: entry.status,
            is_attached: entry.is_attached,
            load: entry.load,
        }
    }

    fn write<'a>(&self, writer: &'a mut Writer) -> &'a mut Writer {
        writer
            .id(self.session.0)
            .byte(codec::role_number(self.role))
            .byte(codec::status_number(self.status))
            .flag(self.is_attached)
            .number(u64::from(self.load))
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            session: read_session(reader)?,
            role: codec::read_role(reader)?,
            status: codec::read_status(reader)?,
            is_attached: reader.flag()?,
            load: reader.small()?,
        })
    }
}

fn read_room(reader: &mut Reader<'_>) -> Option<RoomId> {
    RoomId::parse(reader.text(ROOM_BYTES)?)
}

fn read_state(reader: &mut Reader<'_>) -> Option<Bytes> {
    codec::read_json(reader, TAIL_BYTES)
}
