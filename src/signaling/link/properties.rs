//! Whatever nodes say is read as it was written; whatever else comes is refused, or read, and breaks nothing.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*, sample::Index};
use serde_json::value::RawValue;

use super::{
    super::{
        Body, CallGrants, CallId, CallMode, CallRecord, CallState, Grants, NodeName, Outcome, Party, Place,
        Role, RoomGrant, RoomId, RoomRight, SessionId, Status, To, TurnGrants, UserId,
        deliver::{About, Receipt},
        directory::{Home, RoomMember, SessionEntry},
        moving::Luggage,
        session::{
            Membership,
            queue::{Answer, Extra, Kept, Packed},
        },
    },
    body::{read_body, write_body},
    message::{Carried, Change, Message, Moving, Take, Taking, Told},
    pack::{Pack, pack, unpack},
    wire::{Reader, Writer},
};

fn id() -> impl Strategy<Value = SessionId> {
    any::<u128>().prop_map(SessionId)
}

fn user() -> impl Strategy<Value = UserId> {
    "[a-zä]{1,12}".prop_map(|name| UserId::parse(&name).unwrap())
}

fn room() -> impl Strategy<Value = RoomId> {
    "[a-z ö]{1,12}".prop_map(|name| RoomId::parse(&name).unwrap())
}

fn call() -> impl Strategy<Value = CallId> {
    "[A-Za-z0-9._:-]{1,64}".prop_map(|name| CallId::parse(&name).unwrap())
}

fn node() -> impl Strategy<Value = NodeName> {
    "[a-z0-9]{1,8}".prop_map(|name| NodeName(name.as_str().into()))
}

fn word() -> impl Strategy<Value = Box<str>> {
    "\\PC{0,16}".prop_map(Box::from)
}

fn text() -> impl Strategy<Value = Bytes> {
    "\\PC{0,40}".prop_map(|text| Bytes::from(text.into_bytes()))
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![
        Just(Role::User),
        Just(Role::Sfu),
        Just(Role::Backend),
        Just(Role::Recorder),
        Just(Role::Admin)
    ]
}

fn status() -> impl Strategy<Value = Status> {
    prop_oneof![Just(Status::Online), Just(Status::Away), Just(Status::Dnd)]
}

fn receipt() -> impl Strategy<Value = Receipt> {
    (id(), word()).prop_map(|(from, id)| Receipt { from, id })
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![text().prop_map(Answer::Ok), text().prop_map(Answer::Error), text().prop_map(Answer::Welcome)]
}

fn entry() -> impl Strategy<Value = SessionEntry> {
    let who = (id(), any::<u32>(), user(), word());
    (who, role(), status(), any::<bool>(), any::<u16>(), option::of(id())).prop_map(
        |((id, generation, user, device), role, status, is_attached, load, carrier)| SessionEntry {
            id,
            node: Home::Here,
            generation,
            user,
            device,
            role,
            status,
            is_attached,
            carrier,
            load,
        },
    )
}

fn party() -> impl Strategy<Value = Party> {
    (user(), word(), id()).prop_map(|(user, device, session)| Party { user, device, session })
}

fn record() -> impl Strategy<Value = CallRecord> {
    let states = prop_oneof![Just(CallState::Ringing), Just(CallState::Active), Just(CallState::Ended)];
    let outcomes = prop_oneof![
        Just(Outcome::Completed),
        Just(Outcome::Rejected),
        Just(Outcome::Cancelled),
        Just(Outcome::Missed),
        Just(Outcome::Failed),
        Just(Outcome::Glare)
    ];
    let named = (call(), any::<u32>(), node(), states, party());
    let whom = (option::of(user()), option::of(room()), option::of(party()), vec(word(), 0..8));
    let times = (any::<u64>(), option::of(any::<u64>()), option::of(any::<u64>()), option::of(any::<u64>()));
    let end = (option::of(outcomes), option::of(word()), option::of(user()), option::of(any::<bool>()));
    (named, whom, any::<u32>(), times, end, option::of(text())).prop_map(
        |(named, whom, devices, times, end, attrs)| {
            let (id, sequence, node, state, caller) = named;
            let (callee, room, answerer, media) = whom;
            let (created, rung, answered, ended) = times;
            let (outcome, reason, ended_by, is_relayed) = end;
            CallRecord {
                id,
                sequence,
                node,
                state,
                caller,
                callee,
                room,
                answerer,
                media,
                devices,
                created,
                rung,
                answered,
                ended,
                outcome,
                reason,
                ended_by,
                is_relayed,
                attrs,
            }
        },
    )
}

fn request() -> impl Strategy<Value = Arc<str>> {
    "[a-z0-9]{0,64}".prop_map(Arc::from)
}

fn told() -> impl Strategy<Value = Told> {
    let change = (id(), role(), status(), any::<bool>(), any::<u16>()).prop_map(
        |(session, role, status, is_attached, load)| Change { session, role, status, is_attached, load },
    );
    let member = (id(), text()).prop_map(|(session, state)| RoomMember { session, state });
    prop_oneof![
        Just(Told::Begin),
        Just(Told::End),
        Just(Told::Again),
        (entry(), vec((room(), text()), 0..4)).prop_map(|(entry, rooms)| Told::Up(entry, rooms)),
        change.prop_map(Told::Changed),
        (id(), any::<u32>()).prop_map(|(session, generation)| Told::Down(session, generation)),
        (room(), member).prop_map(|(room, member)| Told::Join(room, member)),
        (room(), id()).prop_map(|(room, session)| Told::Leave(room, session)),
        record().prop_map(|record| Told::Call(Box::new(record))),
    ]
}

fn carried() -> impl Strategy<Value = Carried> {
    let frame = (vec(id(), 0..5), text(), option::of(receipt()));
    let to_call = (option::of(id()), id(), option::of(request()), vec(any::<u8>(), 0..40));
    let fence = (id(), node(), any::<u64>());
    prop_oneof![
        frame.prop_map(|(to, tail, receipt)| Carried::Frame { to, tail, receipt }),
        (id(), request(), answer()).prop_map(|(to, id, answer)| Carried::Answer { to, id, answer }),
        to_call.prop_map(|(caller, from, id, body)| Carried::ToCall { caller, from, id, body: body.into() }),
        fence.prop_map(|(session, origin, number)| Carried::Fence { session, origin, number }),
    ]
}

fn taking() -> impl Strategy<Value = Taking> {
    let take = (id(), user(), any::<[u8; 32]>());
    prop_oneof![
        take.prop_map(|(session, user, token)| Taking::Take(Take { session, user, token })),
        (id(), vec(any::<u8>(), 0..40)).prop_map(|(session, pack)| Taking::Taken(session, pack.into())),
        id().prop_map(Taking::NotTaken),
    ]
}

fn moving() -> impl Strategy<Value = Moving> {
    let moved = (id(), node(), any::<u32>());
    prop_oneof![
        moved.prop_map(|(session, to, generation)| Moving::Moved { session, to, generation }),
        (id(), any::<u32>()).prop_map(|(session, generation)| Moving::Seen(session, generation)),
        (id(), any::<u64>()).prop_map(|(session, number)| Moving::Passed(session, number)),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        told().prop_map(Message::Told),
        carried().prop_map(Message::Carried),
        vec(id(), 0..5).prop_map(Message::Lost),
        taking().prop_map(Message::Taking),
        moving().prop_map(Message::Moving),
    ]
}

fn grants() -> impl Strategy<Value = Grants> {
    let modes = prop_oneof![
        Just(CallMode::Deny),
        Just(CallMode::List),
        Just(CallMode::Grant),
        Just(CallMode::Webhook),
        Just(CallMode::Any)
    ];
    let right = prop_oneof![Just(RoomRight::Join), Just(RoomRight::Send)];
    let rooms = vec((word(), vec(right, 0..3)).prop_map(|(name, rights)| RoomGrant { name, rights }), 0..4);
    let turn = (option::of(0..u64::from(u32::MAX)), any::<bool>(), option::of(word())).prop_map(
        |(ttl, relay_only, quota)| TurnGrants { ttl: ttl.map(Duration::from_millis), relay_only, quota },
    );
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (role(), rooms, flags, modes, vec(user(), 0..4), any::<u32>(), option::of(turn)).prop_map(
        |(role, rooms, (ask_rooms, presence, message), mode, to, sessions_max, turn)| Grants {
            role,
            rooms,
            ask_rooms,
            call: CallGrants { mode, to },
            presence,
            message,
            sessions_max,
            turn,
        },
    )
}

fn kept() -> impl Strategy<Value = Kept> {
    let extra = prop_oneof![
        receipt().prop_map(Extra::Receipt),
        room().prop_map(|room| Extra::About(About::Room(room))),
        user().prop_map(|user| Extra::About(About::Presence(user))),
    ];
    (text(), option::of(extra)).prop_map(|(tail, extra)| Kept { tail, extra: extra.map(Box::new) })
}

fn session() -> impl Strategy<Value = Pack> {
    let queue = (any::<u64>(), any::<bool>(), vec(kept(), 0..6))
        .prop_map(|(base, is_broken, frames)| Packed { base, is_broken, frames });
    let membership = (room(), any::<bool>()).prop_map(|(room, can_send)| Membership { room, can_send });
    let place = (user(), word(), id()).prop_map(|(user, device, session)| Place { user, device, session });
    let proof = (role(), any::<[u8; 32]>(), any::<u64>());
    let lists = (
        vec((request(), option::of(answer())), 0..5),
        vec(membership, 0..4),
        vec(user(), 0..4),
        vec(text(), 0..4),
        vec(vec(any::<u8>(), 0..20).prop_map(Bytes::from), 0..3),
        vec((request(), node()), 0..3),
    );
    (place, proof, queue, lists, grants(), any::<u32>()).prop_map(
        |(place, (role, resume, epoch), queue, lists, grants, generation)| {
            let (replies, rooms, watches, states, calls, asked) = lists;
            let luggage = Luggage { place, role, resume, epoch, queue, replies, rooms, watches };
            Pack { luggage, grants, states, calls, asked, generation }
        },
    )
}

fn written(message: &Message) -> Vec<u8> {
    let mut writer = Writer::default();
    message.write(&mut writer);
    writer.as_bytes().to_vec()
}

fn changed(mut bytes: Vec<u8>, changes: &[(Index, u8)]) -> Vec<u8> {
    for (index, byte) in changes {
        if !bytes.is_empty() {
            let place = index.index(bytes.len());
            bytes[place] = *byte;
        }
    }
    bytes
}

fn json(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_message_is_read_as_it_is_written(message in message()) {
        let bytes = written(&message);
        let mut reader = Reader::new(&bytes);
        prop_assert_eq!(Message::read(&mut reader), Some(message));
        prop_assert!(reader.is_empty());
    }

    #[test]
    fn a_message_that_is_cut_is_none(message in message(), at in any::<Index>()) {
        let bytes = written(&message);
        let end = at.index(bytes.len());
        prop_assert_eq!(Message::read(&mut Reader::new(&bytes[..end])), None);
    }

    #[test]
    fn what_can_be_read_of_changed_bytes_is_said_the_same_way_again(
        message in message(),
        changes in vec((any::<Index>(), any::<u8>()), 1..4),
    ) {
        let bytes = changed(written(&message), &changes);
        if let Some(read) = Message::read(&mut Reader::new(&bytes)) {
            let again = written(&read);
            prop_assert!(again.len() <= bytes.len(), "it grows: {} to {}", bytes.len(), again.len());
            prop_assert_eq!(Message::read(&mut Reader::new(&again)), Some(read));
        }
    }

    #[test]
    fn no_garbage_is_more_than_it_is(bytes in vec(any::<u8>(), 0..200)) {
        if let Some(message) = Message::read(&mut Reader::new(&bytes)) {
            prop_assert!(written(&message).len() <= bytes.len());
        }
        drop(unpack(&bytes));
        drop(read_body(&mut Reader::new(&bytes)));
    }

    #[test]
    fn a_session_is_unpacked_as_it_was_packed(session in session()) {
        let shown = format!("{session:?}");
        let bytes = pack(session);
        let read = unpack(&bytes);
        prop_assert_eq!(read.map(|read| format!("{read:?}")), Some(shown));
    }

    #[test]
    fn a_session_whose_bytes_are_cut_or_changed_breaks_nothing(
        session in session(),
        changes in vec((any::<Index>(), any::<u8>()), 1..4),
        at in any::<Index>(),
    ) {
        let bytes = pack(session).to_vec();
        prop_assert!(unpack(&bytes[..at.index(bytes.len())]).is_none());
        let bytes = changed(bytes, &changes);
        if let Some(read) = unpack(&bytes) {
            prop_assert!(pack(read).len() <= bytes.len());
        }
    }

    #[test]
    fn a_frame_about_a_call_is_read_as_it_is_written(
        (call, room, user, session) in (call(), room(), user(), id()),
        (reason, ttl) in (option::of("[a-z-]{1,64}"), option::of(any::<u64>())),
        (flag, maybe, count) in (any::<bool>(), option::of(any::<bool>()), 0_usize..100),
        changes in vec((any::<Index>(), any::<u8>()), 1..4),
    ) {
        let data = json(r#"{"type":"offer","sdp":"v=0"}"#);
        let candidates = json(r#"[{"candidate":"x"}]"#);
        let reason = reason.as_deref();
        for body in [
            Body::CallRinging { call: call.clone() },
            Body::CallAnswer { call: call.clone(), data: &data },
            Body::CallReject { call: call.clone(), reason: reason.map(Into::into), is_device_only: flag },
            Body::CallHangup { call: call.clone(), reason: reason.map(Into::into), is_relayed: maybe },
            Body::IceCandidate {
                call: flag.then(|| call.clone()),
                to: Some(To::Session(session)),
                candidates: &candidates,
                count,
                is_end: flag,
            },
            Body::Renegotiate { call: call.clone(), restart: flag, data: &data },
            Body::CallRejoin { call: call.clone() },
            Body::CallUpgrade { room: room.clone(), call: flag.then(|| call.clone()), sfu: &data },
            Body::CallOffer {
                call: call.clone(),
                to: if flag { To::User(user.clone()) } else { To::Room(room.clone()) },
                media: Vec::new(),
                ttl,
                grant: None,
                traceparent: None,
                data: &data,
            },
        ] {
            let mut writer = Writer::default();
            prop_assert!(write_body(&mut writer, &body));
            let bytes = writer.as_bytes();
            let mut reader = Reader::new(bytes);
            let read = read_body(&mut reader);
            prop_assert!(reader.is_empty());
            // Frames show nothing of themselves; what they are written as does.
            let mut again = Writer::default();
            prop_assert!(read.is_some_and(|read| write_body(&mut again, &read)));
            prop_assert_eq!(again.as_bytes(), bytes);
            drop(read_body(&mut Reader::new(&changed(bytes.to_vec(), &changes))));
        }
    }
}
