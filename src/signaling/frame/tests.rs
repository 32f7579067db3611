use super::{super::FrameError, *};

fn read(text: &str) -> Result<Frame<'_>, FrameError> {
    Frame::read(text)
}

#[test]
fn a_message_is_borrowed_from_its_text() {
    let frame = read(r#"{"id":"13","type":"message","to":{"role":"sfu","room":"conv-42"},"ack":9,"data":{"a":[1, 2]},"receipt":true,"later":{}}"#).unwrap();
    assert!(matches!(frame.id, Some(Cow::Borrowed("13"))));
    assert_eq!(frame.ack, Some(9));
    let Body::Message { to, data, receipt } = frame.body else { panic!("a message") };
    assert_eq!(to, To::Sfu(RoomId::parse("conv-42").unwrap()));
    assert_eq!(data.get(), r#"{"a":[1, 2]}"#);
    assert!(receipt);
}

#[test]
fn a_trace_is_hexadecimal_digits_in_four_parts() {
    assert!(is_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
    for wrong in [
        "",
        "00",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        "00-0af7651916cd43dd8448eb211c80319\n-b7ad6b7169203331-01",
    ] {
        assert!(!is_traceparent(wrong), "{wrong:?}");
    }
}

#[test]
fn an_ack_may_stand_alone_or_ride_along() {
    assert_eq!(read(r#"{"type":"ack","seq":12}"#).unwrap().ack, Some(12));
    assert_eq!(read(r#"{"type":"ack","ack":3}"#).unwrap().ack, Some(3));
    assert_eq!(read(r#"{"type":"ping","seq":12}"#).unwrap().ack, None);
}

#[test]
fn a_text_that_is_no_frame_says_why_and_keeps_its_id() {
    for text in ["", "{", "[]", "5", "\"a\"", "{}", r#"{"type":5}"#, r#"{"type":"ping"} x"#, "\u{0}"] {
        assert!(matches!(read(text), Err(FrameError::NotJson(_))), "{text}");
    }
    let id = Some("7".to_owned());
    for text in [r#"{"type":"dance","id":"7"}"#, r#"{"type":"dance","id":"7","to":5}"#] {
        let Err(FrameError::UnknownType { kind, id: found }) = read(text) else { panic!("{text}") };
        assert_eq!((kind.as_str(), &found), ("dance", &id));
    }
    for text in [
        r#"{"type":"join","id":"7"}"#,
        r#"{"type":"join","id":"7","room":5}"#,
        r#"{"type":"join","id":"7","room":"a","room":"b"}"#,
        r#"{"type":"message","id":"7","to":{"user":"a","room":"b"},"data":1}"#,
        r#"{"type":"message","id":"7","to":{"user":"a"}}"#,
        r#"{"type":"ice-candidate","id":"7","call":"c","candidates":{}}"#,
        r#"{"type":"ice-candidate","id":"7","candidates":[]}"#,
        r#"{"type":"call-reject","id":"7","call":"c","scope":"all"}"#,
        r#"{"type":"call-reject","id":"7","call":"c","reason":"Not Now"}"#,
        r#"{"type":"presence","id":"7","set":"gone"}"#,
        r#"{"type":"load","id":"7","load":1.5}"#,
        r#"{"type":"hello","id":"7","resume":{"session":"s_1"}}"#,
        r#"{"type":"hello","id":"7","resume":["s_AAAAAAAAAAAAAAAAAAAAAA","rt_","e",1]}"#,
        r#"{"type":"message","id":"7","to":["a",null,null,null],"data":1}"#,
        r#"{"type":"ping","id":"7","as":["a",null]}"#,
    ] {
        let Err(FrameError::Field { id: found, .. }) = read(text) else { panic!("{text}") };
        assert_eq!(found, id, "{text}");
    }
}

#[test]
fn candidates_are_counted_and_may_only_end() {
    let text = r#"{"type":"ice-candidate","call":"c","candidates":[{"candidate":"a,b"},{"candidate":"]"}],"end":true}"#;
    let Body::IceCandidate { count, is_end, .. } = read(text).unwrap().body else { panic!("candidates") };
    assert_eq!((count, is_end), (2, true));
    let text = r#"{"type":"ice-candidate","call":"c","end":true}"#;
    let Body::IceCandidate { candidates, count, .. } = read(text).unwrap().body else { panic!("an end") };
    assert_eq!((candidates.get(), count), ("[]", 0));
}

#[test]
fn data_may_be_null() {
    let text = r#"{"type":"message","to":{"user":"a"},"data":null}"#;
    let Body::Message { data, .. } = read(text).unwrap().body else { panic!("a message") };
    assert_eq!(data.get(), "null");
}

#[test]
fn nothing_that_is_said_gets_into_logs() {
    for text in [
        r#"{"type":"hello","token":"hush","resume":{"session":"s_AAAAAAAAAAAAAAAAAAAAAA","token":"hush","epoch":"e","seq":1}}"#,
        r#"{"type":"auth-refresh","token":"hush"}"#,
        r#"{"type":"message","to":{"user":"hush"},"data":"hush"}"#,
        r#"{"type":"call-offer","call":"c","to":{"user":"hush"},"grant":"hush","data":"hush"}"#,
    ] {
        let shown = format!("{:?}", read(text).unwrap());
        assert!(!shown.contains("hush"), "{shown}");
    }
}
