//! Texts that are frames, and texts that are not.

use super::cases;
use iceway::signaling::{Body, Frame, FrameError, SessionId, To};
use proptest::{collection::vec, prelude::*, sample::Index};

/// One of each type, with every field there is.
pub(crate) const FRAMES: [&str; 25] = [
    r#"{"id":"1","type":"hello","v":1,"token":"eyJhbGciOiJFZERTQSJ9.e30.c2ln","device":"web","caps":["trickle"],"ua":"web/1"}"#,
    r#"{"id":"2","type":"hello","v":1,"token":"t","resume":{"session":"s_AAAAAAAAAAAAAAAAAAAAAA","token":"rt_x","epoch":"e_x","seq":41},"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}"#,
    r#"{"type":"ping","t":{"a":[1,2,{"b":null}]},"ack":7}"#,
    r#"{"type":"ack","seq":12}"#,
    r#"{"id":"3","type":"auth-refresh","token":"eyJ"}"#,
    r#"{"type":"bye"}"#,
    r#"{"id":"4","type":"join","room":"conv-42","state":{"name":"Ann"}}"#,
    r#"{"id":"5","type":"leave","room":"conv-42"}"#,
    r#"{"id":"6","type":"presence","watch":["u-9","u-10"],"set":"away"}"#,
    r#"{"id":"7","type":"call-offer","call":"c_01J","to":{"user":"u-9"},"media":["audio","video"],"ttl":60,"grant":"eyJ","data":{"type":"offer","sdp":"v=0"}}"#,
    r#"{"id":"7","type":"call-offer","call":"c_2","to":{"room":"conv-42"},"media":[],"data":null}"#,
    r#"{"type":"call-ringing","call":"c_01J"}"#,
    r#"{"id":"8","type":"call-answer","call":"c_01J","data":{"type":"answer","sdp":"v=0"}}"#,
    r#"{"id":"9","type":"call-reject","call":"c_01J","reason":"busy","scope":"user"}"#,
    r#"{"id":"9","type":"call-reject","call":"c_01J","scope":"device"}"#,
    r#"{"id":"10","type":"call-hangup","call":"c_01J","reason":"ice-failed","relayed":true}"#,
    r#"{"type":"ice-candidate","call":"c_01J","to":{"session":"s_AAAAAAAAAAAAAAAAAAAAAA"},"candidates":[{"candidate":"candidate:1 1 udp 1 192.0.2.1 9 typ host","sdpMid":"0"}],"end":false}"#,
    r#"{"id":"11","type":"renegotiate","call":"c_01J","restart":true,"data":{"type":"offer","sdp":"v=0"}}"#,
    r#"{"id":"12","type":"call-rejoin","call":"c_01J"}"#,
    r#"{"id":"13","type":"message","to":{"role":"sfu","room":"conv-42"},"data":{"method":"produce","rid":7},"receipt":true}"#,
    r#"{"id":"14","type":"message","to":{"session":"s_AAAAAAAAAAAAAAAAAAAAAA"},"data":"text \" and \u00e4 \ud83d\ude00"}"#,
    r#"{"id":"15","type":"ice-servers"}"#,
    r#"{"id":"16","type":"load","load":0.5}"#,
    r#"{"id":"17","type":"call-upgrade","room":"conv-42","call":"c_01J","sfu":{"kind":"livekit","url":"wss://sfu.example","token":"eyJ"}}"#,
    r#"{"id":"18","type":"message","as":{"user":"u-1","device":"d"},"to":{"user":"u-2"},"data":[]}"#,
];
/// What mangling puts in.
const PIECES: [&str; 20] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    ",",
    ":",
    "\\",
    "\\u0000",
    "\\ud800",
    "null",
    "1e999",
    "-0",
    "18446744073709551616",
    "\"type\":",
    "\"id\":1",
    "\"to\":{}",
    "\u{0}",
    "é",
    "😀",
];

#[test]
fn one_frame_of_each_type_is_read() {
    for text in FRAMES {
        Frame::read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
}

#[test]
fn deep_nesting_neither_overflows_the_stack_nor_is_parsed_for_long() {
    for depth in [100, 1000, 30_000] {
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
            let nested = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            let texts = [
                format!(r#"{{"type":"message","to":{{"user":"u"}},"data":{nested}}}"#),
                format!(r#"{{"type":"ping","t":{nested}}}"#),
                format!(r#"{{"type":"bye","unknown":{nested}}}"#),
                format!(r#"{{"type":{nested}}}"#),
                format!(r#"{{"type":"ice-candidate","call":"c","candidates":[{nested}]}}"#),
                nested.clone(),
                open.repeat(depth),
            ];
            for text in texts {
                drop(Frame::read(&text));
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        is_bounded(&text)?;
    }

    #[test]
    fn a_mangled_frame_is_read_or_refused(text in mangled()) {
        is_bounded(&text)?;
    }

    #[test]
    fn data_is_passed_on_to_the_letter(
        session in any::<u128>(), id in "[ -~]{1,40}", data in json(), receipt: bool, space in "[ \\n\\t]{0,3}",
    ) {
        let session = SessionId(session);
        let id_text = serde_json::to_string(&id).unwrap();
        let text = format!(
            r#"{{{space}"data":{space}{data}{space},"to":{{"session":"{session}"}},"type":"message","id":{id_text},"receipt":{receipt}}}"#
        );
        let frame = Frame::read(&text).unwrap();
        prop_assert_eq!(frame.id.as_deref(), Some(id.as_str()));
        let Body::Message { to, data: read, receipt: wanted } = frame.body else { return Err(TestCaseError::fail("no message")) };
        prop_assert_eq!(to, To::Session(session));
        prop_assert_eq!(read.get(), data);
        prop_assert_eq!(wanted, receipt);
    }

    #[test]
    fn a_session_is_named_in_one_way(session in any::<u128>(), text in "s_[A-Za-z0-9_-]{20,24}") {
        let session = SessionId(session);
        prop_assert_eq!(SessionId::parse(&session.to_string()), Some(session));
        if let Some(parsed) = SessionId::parse(&text) {
            prop_assert_eq!(parsed.to_string(), text);
        }
    }
}

/// What the error says does not grow with the text.
fn is_bounded(text: &str) -> Result<(), TestCaseError> {
    let shown = match Frame::read(text) {
        Ok(frame) => frame.id.map_or(0, |id| id.len()),
        Err(FrameError::UnknownType { id, .. }) => id.map_or(0, |id| id.len()),
        Err(error) => {
            prop_assert!(error.to_string().chars().count() < 500, "{error}");
            0
        }
    };
    prop_assert!(shown <= 64, "an id of {} bytes", shown);
    Ok(())
}

/// A frame with pieces put in, cut out or doubled.
pub(crate) fn mangled() -> impl Strategy<Value = String> {
    let change = (0..4_u8, any::<Index>(), any::<Index>(), 0..PIECES.len());
    (0..FRAMES.len(), vec(change, 1..6)).prop_map(|(which, changes)| {
        let mut text: Vec<char> = FRAMES[which].chars().collect();
        for (kind, from, to, piece) in changes {
            let (from, to) = (from.index(text.len() + 1), to.index(text.len() + 1));
            let (from, to) = (from.min(to), from.max(to));
            match kind {
                0 => drop(text.splice(from..from, PIECES[piece].chars())),
                1 => drop(text.splice(from..to.min(from + 8), PIECES[piece].chars())),
                2 => drop(text.drain(from..to.min(from + 20))),
                _ => {
                    let copy: Vec<char> = text[from..to.min(from + 40)].to_vec();
                    text.splice(to..to, copy);
                }
            }
        }
        text.into_iter().collect()
    })
}

/// Any JSON value, as somebody may write it.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("-1.5e-7".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        "\\PC{0,20}".prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|items| format!("[ {} ]", items.join(" ,"))),
            vec(("[a-z]{1,5}", inner), 0..4).prop_map(|members| {
                let members: Vec<String> =
                    members.iter().map(|(name, value)| format!("\"{name}\" : {value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}
