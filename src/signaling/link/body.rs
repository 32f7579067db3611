//! Frames about calls, as they go to the node that has the call.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{
    super::{Body, CallId, RoomId, SessionId, To},
    codec::{CALL_BYTES, ROOM_BYTES, read_user},
    wire::{Reader, Writer},
};

/// What clients wrote, at most.
const DATA_BYTES: usize = 8 << 20;
const REASON_BYTES: usize = 64;
const CANDIDATES_MAX: usize = 65_536;

/// `false`: it is not about a running call, and does not go anywhere.
pub(super) fn write_body(writer: &mut Writer, body: &Body<'_>) -> bool {
    match body {
        Body::CallRinging { call } => {
            writer.byte(0).text(call.as_str());
        }
        Body::CallAnswer { call, data } => {
            writer.byte(1).text(call.as_str()).text(data.get());
        }
        Body::CallReject { call, reason, is_device_only } => {
            write_reason(writer.byte(2).text(call.as_str()), reason.as_deref()).flag(*is_device_only);
        }
        Body::CallHangup { call, reason, is_relayed } => {
            write_reason(writer.byte(3).text(call.as_str()), reason.as_deref());
            writer.option(*is_relayed, |writer, is_relayed| {
                writer.flag(is_relayed);
            });
        }
        Body::IceCandidate { call, to, candidates, count, is_end } => {
            writer.byte(4).option(call.as_ref(), write_call);
            writer.option(to.as_ref(), write_to);
            writer.text(candidates.get()).number(*count as u64).flag(*is_end);
        }
        Body::Renegotiate { call, restart, data } => {
            writer.byte(5).text(call.as_str()).flag(*restart).text(data.get());
        }
        Body::CallRejoin { call } => {
            writer.byte(6).text(call.as_str());
        }
        Body::CallUpgrade { room, call, sfu } => {
            writer.byte(7).text(room.as_str()).option(call.as_ref(), write_call).text(sfu.get());
        }
        // Offered again: what is known of the call from its first offer is left out.
        Body::CallOffer { call, to, ttl, data, media: _, grant: _, traceparent: _ } => {
            write_to(writer.byte(8).text(call.as_str()), to);
            writer.option(*ttl, |writer, ttl| {
                writer.number(ttl);
            });
            writer.text(data.get());
        }
        Body::Hello(_)
        | Body::Ack
        | Body::Ping { .. }
        | Body::AuthRefresh { .. }
        | Body::Bye
        | Body::Join { .. }
        | Body::Leave { .. }
        | Body::Presence { .. }
        | Body::Message { .. }
        | Body::IceServers
        | Body::Load { .. } => return false,
    }
    true
}

pub(super) fn read_body<'a>(reader: &mut Reader<'a>) -> Option<Body<'a>> {
    let call = |reader: &mut Reader<'a>| CallId::parse(reader.text(CALL_BYTES)?);
    Some(match reader.byte()? {
        0 => Body::CallRinging { call: call(reader)? },
        1 => Body::CallAnswer { call: call(reader)?, data: read_json(reader)? },
        2 => Body::CallReject {
            call: call(reader)?,
            reason: read_reason(reader)?,
            is_device_only: reader.flag()?,
        },
        3 => Body::CallHangup {
            call: call(reader)?,
            reason: read_reason(reader)?,
            is_relayed: reader.option(Reader::flag)?,
        },
        4 => Body::IceCandidate {
            call: reader.option(call)?,
            to: reader.option(read_to)?,
            candidates: read_json(reader)?,
            count: reader.small::<usize>().filter(|count| *count <= CANDIDATES_MAX)?,
            is_end: reader.flag()?,
        },
        5 => Body::Renegotiate { call: call(reader)?, restart: reader.flag()?, data: read_json(reader)? },
        6 => Body::CallRejoin { call: call(reader)? },
        7 => Body::CallUpgrade {
            room: RoomId::parse(reader.text(ROOM_BYTES)?)?,
            call: reader.option(call)?,
            sfu: read_json(reader)?,
        },
        8 => Body::CallOffer {
            call: call(reader)?,
            to: read_to(reader)?,
            media: Vec::new(),
            ttl: reader.option(Reader::number)?,
            grant: None,
            traceparent: None,
            data: read_json(reader)?,
        },
        9.. => return None,
    })
}

fn write_call(writer: &mut Writer, call: &CallId) {
    writer.text(call.as_str());
}

fn write_reason<'a>(writer: &'a mut Writer, reason: Option<&str>) -> &'a mut Writer {
    writer.option(reason, |writer, reason| {
        writer.text(reason);
    })
}

fn read_reason<'a>(reader: &mut Reader<'a>) -> Option<Option<Cow<'a, str>>> {
    reader.option(|reader| reader.text(REASON_BYTES).map(Cow::Borrowed))
}

fn read_json<'a>(reader: &mut Reader<'a>) -> Option<&'a RawValue> {
    serde_json::from_str(reader.text(DATA_BYTES)?).ok()
}

fn write_to(writer: &mut Writer, to: &To) {
    match to {
        To::User(user) => writer.byte(0).text(user.as_str()),
        To::Session(session) => writer.byte(1).id(session.0),
        To::Room(room) => writer.byte(2).text(room.as_str()),
        To::Sfu(room) => writer.byte(3).text(room.as_str()),
    };
}

fn read_to(reader: &mut Reader<'_>) -> Option<To> {
    Some(match reader.byte()? {
        0 => To::User(read_user(reader)?),
        1 => To::Session(SessionId(reader.id()?)),
        2 => To::Room(RoomId::parse(reader.text(ROOM_BYTES)?)?),
        3 => To::Sfu(RoomId::parse(reader.text(ROOM_BYTES)?)?),
        4.. => return None,
    })
}
