//! From text to [`Frame`].

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    super::{CallId, FrameError, RoomId, SessionId, UserId},
    Body, Frame, Hello, Resume, SpeaksFor, Status, To,
    members::Members,
};

const ID_BYTES_MAX: usize = 64;
const DEVICE_BYTES_MAX: usize = 64;
const REASON_BYTES_MAX: usize = 64;
const MEDIA_MAX: usize = 8;
const MEDIA_BYTES_MAX: usize = 32;
/// Characters of a client's own words that come back in an error.
const QUOTED_CHARACTERS_MAX: usize = 64;
const PROBLEM_CHARACTERS_MAX: usize = 200;

impl<'a> Frame<'a> {
    /// Reads a text frame.
    ///
    /// # Errors
    /// See [`FrameError`].
    pub fn read(text: &'a str) -> Result<Self, FrameError> {
        if !text.trim_ascii_start().starts_with('{') {
            return Err(FrameError::NotJson("it begins otherwise".to_owned()));
        }
        let mut raw: Raw<'a> = serde_json::from_str(text).map_err(|error| explain(text, &error))?;
        match raw.frame() {
            Ok(frame) => Ok(frame),
            Err(Fault::Type) => {
                Err(FrameError::UnknownType { kind: quoted(&raw.kind.0), id: raw.owned_id() })
            }
            Err(Fault::Field(problem)) => {
                Err(FrameError::Field { problem: problem.to_owned(), id: raw.owned_id() })
            }
        }
    }
}

/// A string that is borrowed from the frame unless it has escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Every field that any frame has; what a type does not know is ignored there.
#[derive(Default, Deserialize)]
struct Raw<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    id: Option<Text<'a>>,
    ack: Option<u64>,
    #[serde(borrow, rename = "as")]
    speaks_for: Option<Members<RawSpeaksFor<'a>>>,
    v: Option<u32>,
    #[serde(borrow)]
    token: Option<Text<'a>>,
    #[serde(borrow)]
    device: Option<Text<'a>>,
    #[serde(borrow)]
    resume: Option<Members<RawResume<'a>>>,
    #[serde(borrow)]
    traceparent: Option<Text<'a>>,
    seq: Option<u64>,
    #[serde(borrow, default, deserialize_with = "even_null")]
    t: Option<&'a RawValue>,
    #[serde(borrow)]
    room: Option<Text<'a>>,
    #[serde(borrow)]
    state: Option<&'a RawValue>,
    #[serde(borrow)]
    watch: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    set: Option<Text<'a>>,
    #[serde(borrow)]
    to: Option<Members<RawTo<'a>>>,
    #[serde(borrow, default, deserialize_with = "even_null")]
    data: Option<&'a RawValue>,
    receipt: Option<bool>,
    load: Option<f64>,
    #[serde(borrow)]
    call: Option<Text<'a>>,
    #[serde(borrow)]
    media: Option<Vec<Text<'a>>>,
    ttl: Option<u64>,
    #[serde(borrow)]
    grant: Option<Text<'a>>,
    #[serde(borrow)]
    reason: Option<Text<'a>>,
    #[serde(borrow)]
    scope: Option<Text<'a>>,
    relayed: Option<bool>,
    #[serde(borrow)]
    candidates: Option<&'a RawValue>,
    end: Option<bool>,
    restart: Option<bool>,
    #[serde(borrow)]
    sfu: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawSpeaksFor<'a> {
    #[serde(borrow)]
    user: Text<'a>,
    #[serde(borrow)]
    device: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct RawResume<'a> {
    #[serde(borrow)]
    session: Text<'a>,
    #[serde(borrow)]
    token: Text<'a>,
    #[serde(borrow)]
    epoch: Text<'a>,
    seq: u64,
}

#[derive(Deserialize)]
struct RawTo<'a> {
    #[serde(borrow)]
    user: Option<Text<'a>>,
    #[serde(borrow)]
    session: Option<Text<'a>>,
    #[serde(borrow)]
    room: Option<Text<'a>>,
    #[serde(borrow)]
    role: Option<Text<'a>>,
}

/// What is needed to answer a frame that could not be read.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

enum Fault {
    Type,
    Field(&'static str),
}

impl From<&'static str> for Fault {
    fn from(problem: &'static str) -> Self {
        Self::Field(problem)
    }
}

impl<'a> Raw<'a> {
    fn frame(&mut self) -> Result<Frame<'a>, Fault> {
        let body = self.body()?;
        if self.id.as_ref().is_some_and(|id| !(1..=ID_BYTES_MAX).contains(&id.0.len())) {
            return Err("id is 1 to 64 bytes".into());
        }
        let speaks_for = match self.speaks_for.take() {
            Some(Members(raw)) => Some(SpeaksFor {
                user: UserId::parse(&raw.user.0).ok_or("as.user is no user")?,
                device: device(raw.device)?.unwrap_or_default(),
            }),
            None => None,
        };
        let ack = if matches!(body, Body::Ack) { self.ack.max(self.seq) } else { self.ack };
        Ok(Frame { id: self.id.take().map(|id| id.0), ack, speaks_for, body })
    }

    fn body(&mut self) -> Result<Body<'a>, Fault> {
        Ok(match self.kind.0.as_ref() {
            "message" => Body::Message {
                to: self.to()?.ok_or("to is missing")?,
                data: self.data()?,
                receipt: self.receipt.unwrap_or_default(),
            },
            "ice-candidate" => self.ice_candidate()?,
            "ack" => Body::Ack,
            "ping" => Body::Ping { t: self.t },
            "hello" => Body::Hello(self.hello()?),
            "auth-refresh" => Body::AuthRefresh { token: self.token.take().ok_or("token is missing")?.0 },
            "bye" => Body::Bye,
            "join" => Body::Join { room: self.room()?, state: self.state },
            "leave" => Body::Leave { room: self.room()? },
            "presence" => self.presence()?,
            "ice-servers" => Body::IceServers,
            "load" => Body::Load { load: self.load()? },
            "call-offer" => self.call_offer()?,
            "call-ringing" => Body::CallRinging { call: self.call()? },
            "call-answer" => Body::CallAnswer { call: self.call()?, data: self.data()? },
            "call-reject" => Body::CallReject {
                call: self.call()?,
                is_device_only: self.is_device_only()?,
                reason: self.reason()?,
            },
            "call-hangup" => {
                Body::CallHangup { call: self.call()?, reason: self.reason()?, is_relayed: self.relayed }
            }
            "renegotiate" => Body::Renegotiate {
                call: self.call()?,
                restart: self.restart.unwrap_or_default(),
                data: self.data()?,
            },
            "call-rejoin" => Body::CallRejoin { call: self.call()? },
            "call-upgrade" => Body::CallUpgrade {
                room: self.room()?,
                call: self.call.is_some().then(|| self.call()).transpose()?,
                sfu: self.sfu.filter(|sfu| sfu.get().starts_with('{')).ok_or("sfu is an object")?,
            },
            _ => return Err(Fault::Type),
        })
    }

    fn hello(&mut self) -> Result<Hello<'a>, Fault> {
        let resume = match self.resume.take() {
            Some(Members(raw)) => Some(Resume {
                session: SessionId::parse(&raw.session.0).ok_or("resume.session is no session")?,
                token: raw.token.0,
                epoch: raw.epoch.0,
                seq: raw.seq,
            }),
            None => None,
        };
        Ok(Hello {
            version: self.v.unwrap_or(1),
            token: self.token.take().map(|token| token.0),
            device: device(self.device.take())?,
            resume,
            traceparent: self.traceparent.take().map(|text| text.0),
        })
    }

    fn presence(&mut self) -> Result<Body<'a>, Fault> {
        let watch = match self.watch.take() {
            Some(users) => Some(
                users
                    .iter()
                    .map(|user| UserId::parse(&user.0))
                    .collect::<Option<Vec<_>>>()
                    .ok_or("watch has something that is no user")?,
            ),
            None => None,
        };
        let set = match self.set.as_ref().map(|set| set.0.as_ref()) {
            None => None,
            Some("online") => Some(Status::Online),
            Some("away") => Some(Status::Away),
            Some("dnd") => Some(Status::Dnd),
            Some(_) => return Err("set is online, away or dnd".into()),
        };
        Ok(Body::Presence { watch, set })
    }

    fn call_offer(&mut self) -> Result<Body<'a>, Fault> {
        let media = self.media.take().unwrap_or_default();
        let is_fine = |kind: &Text<'_>| (1..=MEDIA_BYTES_MAX).contains(&kind.0.len());
        if media.len() > MEDIA_MAX || !media.iter().all(is_fine) {
            return Err("media is at most 8 names of 1 to 32 bytes".into());
        }
        Ok(Body::CallOffer {
            call: self.call()?,
            to: self.to()?.ok_or("to is missing")?,
            media: media.into_iter().map(|kind| kind.0.into()).collect(),
            ttl: self.ttl,
            grant: self.grant.take().map(|grant| grant.0),
            traceparent: self.traceparent.take().map(|text| text.0),
            data: self.data()?,
        })
    }

    fn ice_candidate(&mut self) -> Result<Body<'a>, Fault> {
        let call = self.call.is_some().then(|| self.call()).transpose()?;
        let to = self.to()?;
        if call.is_none() && to.is_none() {
            return Err("call is missing".into());
        }
        let candidates = match self.candidates {
            Some(candidates) => candidates,
            None if self.end == Some(true) => {
                serde_json::from_str("[]").map_err(|_| "candidates is missing")?
            }
            None => return Err("candidates is missing".into()),
        };
        let Counted(count) = serde_json::from_str(candidates.get()).map_err(|_| "candidates is an array")?;
        Ok(Body::IceCandidate { call, to, candidates, count, is_end: self.end.unwrap_or_default() })
    }

    fn to(&mut self) -> Result<Option<To>, Fault> {
        const WRONG: &str = "to is one of {user}, {session}, {room}, {role: \"sfu\", room}";
        let Some(Members(raw)) = self.to.take() else { return Ok(None) };
        let to = match (raw.user, raw.session, raw.room, raw.role) {
            (Some(user), None, None, None) => UserId::parse(&user.0).map(To::User),
            (None, Some(session), None, None) => SessionId::parse(&session.0).map(To::Session),
            (None, None, Some(room), None) => RoomId::parse(&room.0).map(To::Room),
            (None, None, Some(room), Some(role)) if role.0 == "sfu" => RoomId::parse(&room.0).map(To::Sfu),
            _ => None,
        };
        to.map(Some).ok_or(Fault::Field(WRONG))
    }

    fn room(&self) -> Result<RoomId, Fault> {
        let room = self.room.as_ref().ok_or("room is missing")?;
        RoomId::parse(&room.0).ok_or(Fault::Field("room is 1 to 128 bytes without control characters"))
    }

    fn call(&self) -> Result<CallId, Fault> {
        let call = self.call.as_ref().ok_or("call is missing")?;
        CallId::parse(&call.0).ok_or(Fault::Field("call is 1 to 64 of A-Z a-z 0-9 . _ : -"))
    }

    fn data(&self) -> Result<&'a RawValue, Fault> {
        self.data.ok_or(Fault::Field("data is missing"))
    }

    fn load(&self) -> Result<f64, Fault> {
        self.load.filter(|load| (0.0..=1.0).contains(load)).ok_or(Fault::Field("load is 0 to 1"))
    }

    fn reason(&mut self) -> Result<Option<Cow<'a, str>>, Fault> {
        let Some(Text(reason)) = self.reason.take() else { return Ok(None) };
        let is_fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=REASON_BYTES_MAX).contains(&reason.len()) || !reason.bytes().all(is_fine) {
            return Err("reason is 1 to 64 of a-z 0-9 -".into());
        }
        Ok(Some(reason))
    }

    fn is_device_only(&self) -> Result<bool, Fault> {
        match self.scope.as_ref().map(|scope| scope.0.as_ref()) {
            None | Some("user") => Ok(false),
            Some("device") => Ok(true),
            Some(_) => Err("scope is user or device".into()),
        }
    }

    /// The id, if it is one that can be answered to.
    fn owned_id(&mut self) -> Option<String> {
        let id = self.id.take()?;
        (1..=ID_BYTES_MAX).contains(&id.0.len()).then(|| id.0.into_owned())
    }
}

fn device(device: Option<Text<'_>>) -> Result<Option<Cow<'_, str>>, Fault> {
    match device {
        Some(Text(device)) if device.len() > DEVICE_BYTES_MAX || device.chars().any(char::is_control) => {
            Err("device is at most 64 bytes without control characters".into())
        }
        Some(Text(device)) => Ok(Some(device)),
        None => Ok(None),
    }
}

/// What is wrong with a text that is not even made of the right kinds of values.
fn explain(text: &str, error: &serde_json::Error) -> FrameError {
    let cut = |text: String, max: usize| text.chars().take(max).collect::<String>();
    let problem = cut(error.to_string(), PROBLEM_CHARACTERS_MAX);
    if !error.is_data() {
        return FrameError::NotJson(problem);
    }
    let Ok(head) = serde_json::from_str::<Head<'_>>(text) else { return FrameError::NotJson(problem) };
    let id = head
        .id
        .and_then(|id| serde_json::from_str::<String>(id.get()).ok())
        .filter(|id| (1..=ID_BYTES_MAX).contains(&id.len()));
    let mut empty = Raw { kind: Text(Cow::Borrowed(&head.kind.0)), ..Raw::default() };
    match empty.body() {
        Err(Fault::Type) => FrameError::UnknownType { kind: quoted(&head.kind.0), id },
        Ok(_) | Err(Fault::Field(_)) => FrameError::Field { problem, id },
    }
}

fn quoted(kind: &str) -> String {
    kind.chars().take(QUOTED_CHARACTERS_MAX).collect()
}

/// A value that may be `null` and is there nonetheless.
fn even_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// The number of elements of an array.
struct Counted(usize);

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Counting;
        impl<'de> Visitor<'de> for Counting {
            type Value = Counted;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Counted, A::Error> {
                let mut count = 0;
                while elements.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Counted(count))
            }
        }
        deserializer.deserialize_seq(Counting)
    }
}

impl Default for Text<'_> {
    fn default() -> Self {
        Self(Cow::Borrowed(""))
    }
}
