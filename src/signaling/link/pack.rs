//! A session with all that is kept for it, on its way to another node.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    super::{
        CallGrants, CallMode, Grants, NodeName, Place, RoomGrant, RoomId, RoomRight, SessionId, TurnGrants,
        UserId,
        deliver::About,
        moving::Luggage,
        session::{
            Membership,
            queue::{Answer, Extra, Kept, Packed},
        },
    },
    codec::{
        self, DEVICE_BYTES, REQUEST_BYTES, ROOM_BYTES, read_answer, read_json, read_node, read_receipt,
        read_user, write_answer, write_receipt,
    },
    wire::{Reader, Writer},
};

/// What goes to another node.
#[derive(Debug)]
pub(super) struct Pack {
    pub(super) luggage: Luggage,
    pub(super) grants: Grants,
    /// What its rooms see of it, in their order.
    pub(super) states: Vec<Bytes>,
    /// The calls that it placed.
    pub(super) calls: Vec<Bytes>,
    /// Its requests that nodes were asked about calls, and have not answered.
    pub(super) asked: Vec<(Arc<str>, NodeName)>,
    /// How often it moved, with this time.
    pub(super) generation: u32,
}

/// Bounds of what is read: more than what any node keeps.
const LIST_MAX: usize = 1 << 20;
const TAIL_BYTES: usize = 8 << 20;
const WORD_BYTES: usize = 64 << 10;
/// Answers that are remembered beyond this stay behind: the oldest first.
const ANSWERS_BYTES: usize = 2 << 20;

const MODES: [CallMode; 5] =
    [CallMode::Deny, CallMode::List, CallMode::Grant, CallMode::Webhook, CallMode::Any];

/// A session in bytes.
pub(super) fn pack(pack: Pack) -> Bytes {
    let mut writer = Writer::default();
    let Pack { luggage, grants, states, calls, asked, generation } = pack;
    let Luggage { place, role, resume, epoch, queue, replies, rooms, watches } = luggage;
    writer.number(u64::from(generation)).text(place.user.as_str()).text(&place.device).id(place.session.0);
    writer.byte(codec::role_number(role)).blob(&resume).number(epoch);
    write_grants(&mut writer, &grants);
    write_queue(&mut writer, &queue);
    write_replies(&mut writer, &replies);
    writer.list(rooms.iter(), |writer, membership| {
        writer.text(membership.room.as_str()).flag(membership.can_send);
    });
    writer.list(states.iter(), |writer, state| {
        writer.blob(state);
    });
    writer.list(watches.iter(), |writer, user| {
        writer.text(user.as_str());
    });
    writer.list(calls.iter(), |writer, call| {
        writer.blob(call);
    });
    writer.list(asked.iter(), |writer, (id, node)| {
        writer.text(id).text(&node.0);
    });
    writer.into_bytes()
}

/// The session that was packed.
pub(super) fn unpack(bytes: &[u8]) -> Option<Pack> {
    let reader = &mut Reader::new(bytes);
    let generation = reader.small()?;
    let user = read_user(reader)?;
    let place = Place { user, device: reader.text(DEVICE_BYTES)?.into(), session: SessionId(reader.id()?) };
    let role = codec::read_role(reader)?;
    let resume = reader.blob(32)?.try_into().ok()?;
    let epoch = reader.number()?;
    let grants = read_grants(reader)?;
    let queue = read_queue(reader)?;
    let replies = reader.list(LIST_MAX, |reader| {
        let id: Arc<str> = reader.text(REQUEST_BYTES)?.into();
        Some((id, reader.option(read_answer)?))
    })?;
    let rooms = reader.list(LIST_MAX, |reader| {
        Some(Membership { room: RoomId::parse(reader.text(ROOM_BYTES)?)?, can_send: reader.flag()? })
    })?;
    let states = reader.list(LIST_MAX, |reader| read_json(reader, TAIL_BYTES))?;
    let watches = reader.list(LIST_MAX, read_user)?;
    let calls = reader.list(LIST_MAX, |reader| reader.bytes(TAIL_BYTES))?;
    let asked =
        reader.list(LIST_MAX, |reader| Some((reader.text(REQUEST_BYTES)?.into(), read_node(reader)?)))?;
    let luggage = Luggage { place, role, resume, epoch, queue, replies, rooms, watches };
    Some(Pack { luggage, grants, states, calls, asked, generation })
}

fn write_queue(writer: &mut Writer, queue: &Packed) {
    writer.number(queue.base).flag(queue.is_broken).list(queue.frames.iter(), |writer, kept| {
        writer.blob(&kept.tail);
        match kept.extra.as_deref() {
            None => {
                writer.byte(0);
            }
            Some(Extra::Receipt(receipt)) => write_receipt(writer.byte(1), receipt),
            Some(Extra::About(About::Room(room))) => {
                writer.byte(2).text(room.as_str());
            }
            Some(Extra::About(About::Presence(user))) => {
                writer.byte(3).text(user.as_str());
            }
        }
    });
}

fn read_queue(reader: &mut Reader<'_>) -> Option<Packed> {
    let (base, is_broken) = (reader.number()?, reader.flag()?);
    let frames = reader.list(LIST_MAX, |reader| {
        let tail = read_json(reader, TAIL_BYTES)?;
        let extra = match reader.byte()? {
            0 => None,
            1 => Some(Extra::Receipt(read_receipt(reader)?)),
            2 => Some(Extra::About(About::Room(RoomId::parse(reader.text(ROOM_BYTES)?)?))),
            3 => Some(Extra::About(About::Presence(read_user(reader)?))),
            4.. => return None,
        };
        Some(Kept { tail, extra: extra.map(Box::new) })
    })?;
    Some(Packed { base, is_broken, frames })
}

fn write_replies(writer: &mut Writer, replies: &[(Arc<str>, Option<Answer>)]) {
    let bytes = |answer: &Option<Answer>| match answer {
        Some(Answer::Ok(members) | Answer::Error(members) | Answer::Welcome(members)) => members.len(),
        None => 0,
    };
    let mut total = 0;
    let fits = replies.iter().rev().take_while(|(_, answer)| {
        total += bytes(answer);
        total <= ANSWERS_BYTES
    });
    let first = replies.len() - fits.count();
    writer.list(replies.get(first..).unwrap_or_default().iter(), |writer, (id, answer)| {
        writer.text(id).option(answer.as_ref(), |writer, answer| {
            write_answer(writer, answer);
        });
    });
}

fn write_grants(writer: &mut Writer, grants: &Grants) {
    let Grants { role, rooms, ask_rooms, call, presence, message, sessions_max, turn } = grants;
    writer.byte(codec::role_number(*role)).list(rooms.iter(), |writer, room| {
        writer.text(&room.name).list(room.rights.iter(), |writer, right| {
            writer.flag(*right == RoomRight::Send);
        });
    });
    let mode = MODES.iter().position(|mode| *mode == call.mode).unwrap_or_default();
    writer.flag(*ask_rooms).byte(mode as u8).list(call.to.iter(), |writer, user| {
        writer.text(user.as_str());
    });
    writer.flag(*presence).flag(*message).number(u64::from(*sessions_max));
    writer.option(turn.as_ref(), |writer, turn| {
        writer.option(turn.ttl, |writer, ttl| {
            writer.number(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        });
        writer.flag(turn.relay_only).option(turn.quota.as_ref(), |writer, quota| {
            writer.text(quota);
        });
    });
}

fn read_grants(reader: &mut Reader<'_>) -> Option<Grants> {
    let role = codec::read_role(reader)?;
    let rooms = reader.list(LIST_MAX, |reader| {
        let name = reader.text(WORD_BYTES)?.into();
        let rights = reader
            .list(LIST_MAX, |reader| Some(if reader.flag()? { RoomRight::Send } else { RoomRight::Join }))?;
        Some(RoomGrant { name, rights })
    })?;
    let ask_rooms = reader.flag()?;
    let mode = *MODES.get(usize::from(reader.byte()?))?;
    let to: Vec<UserId> = reader.list(LIST_MAX, read_user)?;
    Some(Grants {
        role,
        rooms,
        ask_rooms,
        call: CallGrants { mode, to },
        presence: reader.flag()?,
        message: reader.flag()?,
        sessions_max: reader.small()?,
        turn: reader.option(|reader| {
            Some(TurnGrants {
                ttl: reader.option(|reader| reader.number().map(Duration::from_millis))?,
                relay_only: reader.flag()?,
                quota: reader.option(|reader| reader.text(WORD_BYTES).map(Box::from))?,
            })
        })?,
    })
}
