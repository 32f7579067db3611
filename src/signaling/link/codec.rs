//! Sessions, calls and what they are made of, as bytes.

use bytes::Bytes;

use super::{
    super::{
        CallId, CallRecord, CallState, NodeName, Outcome, Party, Role, RoomId, SessionId, Status, UserId,
        deliver::Receipt,
        directory::{Home, SessionEntry},
        session::queue::Answer,
    },
    wire::{Reader, Writer},
};

/// Bounds of what is read: those of the protocol, or more than what any node sends.
const NODE_BYTES: usize = 256;
const USER_BYTES: usize = 256;
pub(super) const ROOM_BYTES: usize = 128;
pub(super) const CALL_BYTES: usize = 64;
pub(super) const DEVICE_BYTES: usize = 64 << 10;
pub(super) const REQUEST_BYTES: usize = 64;
const MEDIA_MAX: usize = 16;
const WORD_BYTES: usize = 256;
const ATTRS_BYTES: usize = 1 << 20;
const ANSWER_BYTES: usize = 8 << 20;

const ROLES: [Role; 5] = [Role::User, Role::Sfu, Role::Backend, Role::Recorder, Role::Admin];
const STATUSES: [Status; 3] = [Status::Online, Status::Away, Status::Dnd];
const STATES: [CallState; 3] = [CallState::Ringing, CallState::Active, CallState::Ended];
const OUTCOMES: [Outcome; 6] = [
    Outcome::Completed,
    Outcome::Rejected,
    Outcome::Cancelled,
    Outcome::Missed,
    Outcome::Failed,
    Outcome::Glare,
];

/// The place of something in the list of all of its kind.
fn number_of<T: PartialEq>(all: &[T], one: &T) -> u8 {
    all.iter().position(|known| known == one).and_then(|place| place.try_into().ok()).unwrap_or(u8::MAX)
}

fn read_one<T: Copy>(reader: &mut Reader<'_>, all: &[T]) -> Option<T> {
    all.get(usize::from(reader.byte()?)).copied()
}

pub(super) fn role_number(role: Role) -> u8 {
    number_of(&ROLES, &role)
}

pub(super) fn read_role(reader: &mut Reader<'_>) -> Option<Role> {
    read_one(reader, &ROLES)
}

pub(super) fn status_number(status: Status) -> u8 {
    number_of(&STATUSES, &status)
}

pub(super) fn read_status(reader: &mut Reader<'_>) -> Option<Status> {
    read_one(reader, &STATUSES)
}

pub(super) fn read_node(reader: &mut Reader<'_>) -> Option<NodeName> {
    let name = reader.text(NODE_BYTES)?;
    (!name.is_empty()).then(|| NodeName(name.into()))
}

pub(super) fn read_user(reader: &mut Reader<'_>) -> Option<UserId> {
    UserId::parse(reader.text(USER_BYTES)?)
}

/// Bytes that go into frames of clients: they are text.
pub(super) fn read_json(reader: &mut Reader<'_>, bytes_max: usize) -> Option<Bytes> {
    reader.text(bytes_max).map(|text| Bytes::copy_from_slice(text.as_bytes()))
}

/// A session of the writer; where it lives goes without saying.
pub(super) fn write_entry<'a>(writer: &'a mut Writer, entry: &SessionEntry) -> &'a mut Writer {
    writer.id(entry.id.0).number(u64::from(entry.generation)).text(entry.user.as_str()).text(&entry.device);
    writer.byte(role_number(entry.role)).byte(status_number(entry.status)).flag(entry.is_attached);
    writer.number(u64::from(entry.load)).option(entry.carrier, |writer, carrier| {
        writer.id(carrier.0);
    })
}

pub(super) fn read_entry(reader: &mut Reader<'_>) -> Option<SessionEntry> {
    Some(SessionEntry {
        id: SessionId(reader.id()?),
        node: Home::Here,
        generation: reader.small()?,
        user: read_user(reader)?,
        device: reader.text(DEVICE_BYTES)?.into(),
        role: read_role(reader)?,
        status: read_status(reader)?,
        is_attached: reader.flag()?,
        load: reader.small()?,
        carrier: reader.option(|reader| reader.id().map(SessionId))?,
    })
}

pub(super) fn write_receipt(writer: &mut Writer, receipt: &Receipt) {
    writer.id(receipt.from.0).text(&receipt.id);
}

pub(super) fn read_receipt(reader: &mut Reader<'_>) -> Option<Receipt> {
    Some(Receipt { from: SessionId(reader.id()?), id: reader.text(REQUEST_BYTES)?.into() })
}

pub(super) fn write_answer<'a>(writer: &'a mut Writer, answer: &Answer) -> &'a mut Writer {
    match answer {
        Answer::Ok(members) => writer.byte(0).blob(members),
        Answer::Error(members) => writer.byte(1).blob(members),
        Answer::Welcome(members) => writer.byte(2).blob(members),
    }
}

pub(super) fn read_answer(reader: &mut Reader<'_>) -> Option<Answer> {
    let kind = reader.byte()?;
    let members = read_json(reader, ANSWER_BYTES)?;
    match kind {
        0 => Some(Answer::Ok(members)),
        1 => Some(Answer::Error(members)),
        2 => Some(Answer::Welcome(members)),
        3.. => None,
    }
}

fn write_party(writer: &mut Writer, party: &Party) {
    writer.text(party.user.as_str()).text(&party.device).id(party.session.0);
}

fn read_party(reader: &mut Reader<'_>) -> Option<Party> {
    Some(Party {
        user: read_user(reader)?,
        device: reader.text(DEVICE_BYTES)?.into(),
        session: SessionId(reader.id()?),
    })
}

pub(in crate::signaling) fn write_call<'a>(writer: &'a mut Writer, call: &CallRecord) -> &'a mut Writer {
    writer.text(call.id.as_str()).number(u64::from(call.sequence)).text(&call.node.0);
    writer.byte(number_of(&STATES, &call.state));
    write_party(writer, &call.caller);
    writer.option(call.callee.as_ref(), |writer, user| {
        writer.text(user.as_str());
    });
    writer.option(call.room.as_ref(), |writer, room| {
        writer.text(room.as_str());
    });
    writer.option(call.answerer.as_ref(), write_party);
    writer.list(call.media.iter(), |writer, media| {
        writer.text(media);
    });
    writer.number(u64::from(call.devices)).number(call.created);
    for time in [call.rung, call.answered, call.ended] {
        writer.option(time, |writer, time| {
            writer.number(time);
        });
    }
    writer.option(call.outcome, |writer, outcome| {
        writer.byte(number_of(&OUTCOMES, &outcome));
    });
    writer.option(call.reason.as_ref(), |writer, reason| {
        writer.text(reason);
    });
    writer.option(call.ended_by.as_ref(), |writer, user| {
        writer.text(user.as_str());
    });
    writer.option(call.is_relayed, |writer, is_relayed| {
        writer.flag(is_relayed);
    });
    writer.option(call.attrs.as_ref(), |writer, attrs| {
        writer.blob(attrs);
    })
}

pub(in crate::signaling) fn read_call(reader: &mut Reader<'_>) -> Option<CallRecord> {
    Some(CallRecord {
        id: CallId::parse(reader.text(CALL_BYTES)?)?,
        sequence: reader.small()?,
        node: read_node(reader)?,
        state: read_one(reader, &STATES)?,
        caller: read_party(reader)?,
        callee: reader.option(read_user)?,
        room: reader.option(|reader| RoomId::parse(reader.text(ROOM_BYTES)?))?,
        answerer: reader.option(read_party)?,
        media: reader.list(MEDIA_MAX, |reader| reader.text(WORD_BYTES).map(Box::from))?,
        devices: reader.small()?,
        created: reader.number()?,
        rung: reader.option(Reader::number)?,
        answered: reader.option(Reader::number)?,
        ended: reader.option(Reader::number)?,
        outcome: reader.option(|reader| read_one(reader, &OUTCOMES))?,
        reason: reader.option(|reader| reader.text(WORD_BYTES).map(Box::from))?,
        ended_by: reader.option(read_user)?,
        is_relayed: reader.option(Reader::flag)?,
        attrs: reader.option(|reader| read_json(reader, ATTRS_BYTES))?,
    })
}
