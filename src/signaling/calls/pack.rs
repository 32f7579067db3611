//! A call as bytes, for the node it moves to.

use bytes::Bytes;

use super::{
    super::{
        CallId, CallRecord, CallState, Instant, NodeName, Now, Outcome, Party, Place, RoomId, SessionId,
        UserId,
    },
    call::{Call, Device, Kept, Presence, Target},
};

/// The first byte: readers of another format refuse it.
const FORMAT: u8 = 1;
/// What one text may have; descriptions are the longest.
const BYTES_MAX: usize = 1 << 20;
/// Of anything in a call; a room has the most devices.
const ITEMS_MAX: usize = 4096;

impl Call {
    /// All of a call as bytes.
    pub(super) fn pack(&self, now: Now) -> Bytes {
        let mut out = Writer(Vec::with_capacity(512));
        out.0.push(FORMAT);
        out.record(&self.record);
        out.0.push(match self.target {
            Target::User => 0,
            Target::Session => 1,
            Target::Room => 2,
        });
        out.millis(self.expires.since(now.monotonic));
        out.millis(now.monotonic.since(self.offered));
        out.option(self.rung, |out, at| out.millis(now.monotonic.since(at)));
        for presence in [self.caller, self.answerer] {
            match presence {
                Presence::Here => out.0.push(0),
                Presence::Away(until) => {
                    out.0.push(1);
                    out.millis(until.since(now.monotonic));
                }
                Presence::Lost => out.0.push(2),
            }
        }
        out.0.push(u8::from(self.is_pushed));
        out.bytes(&self.offer);
        out.kept(Some(&self.candidates));
        out.list(&self.devices, |out, device| {
            out.place(&device.place);
            out.0.push(u8::from(device.is_asked) | u8::from(device.has_rung) << 1);
            out.kept(device.candidates.as_deref());
        });
        out.0.into()
    }

    /// The call that bytes of another node say; `None` if they do not.
    pub(super) fn unpack(now: Now, bytes: &[u8]) -> Option<Self> {
        let mut input = Reader(bytes);
        if input.byte()? != FORMAT {
            return None;
        }
        let record = input.record()?;
        let target = match input.byte()? {
            0 => Target::User,
            1 => Target::Session,
            2 => Target::Room,
            _ => return None,
        };
        let expires = now.monotonic.after(input.millis()?);
        let offered = now.monotonic.before(input.millis()?);
        let rung = input.option(|input| Some(now.monotonic.before(input.millis()?)))?;
        let caller = input.presence(now.monotonic)?;
        let answerer = input.presence(now.monotonic)?;
        let is_pushed = input.byte()? & 1 == 1;
        let offer = Bytes::copy_from_slice(input.bytes()?);
        let candidates = input.kept()?;
        let devices = input.list(|input| {
            let place = input.place()?;
            let flags = input.byte()?;
            let kept = input.kept()?;
            Some(Device {
                place,
                is_asked: flags & 1 == 1,
                has_rung: flags & 2 == 2,
                candidates: (!kept.frames.is_empty()).then(|| Box::new(kept)),
            })
        })?;
        input.0.is_empty().then_some(Self {
            record,
            target,
            expires,
            offered,
            rung,
            offer,
            candidates,
            devices,
            caller,
            answerer,
            is_pushed,
            generation: 0,
        })
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    fn millis(&mut self, duration: std::time::Duration) {
        self.number(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.0.push(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn list<T>(&mut self, items: &[T], write: impl Fn(&mut Self, &T)) {
        let items = items.get(..ITEMS_MAX).unwrap_or(items);
        self.0.extend_from_slice(&(items.len() as u16).to_be_bytes());
        for item in items {
            write(self, item);
        }
    }

    fn session(&mut self, session: SessionId) {
        self.0.extend_from_slice(&session.0.to_be_bytes());
    }

    fn place(&mut self, place: &Place) {
        self.text(place.user.as_str());
        self.text(&place.device);
        self.session(place.session);
    }

    fn party(&mut self, party: &Party) {
        self.text(party.user.as_str());
        self.text(&party.device);
        self.session(party.session);
    }

    fn kept(&mut self, kept: Option<&Kept>) {
        let empty = Kept::default();
        let kept = kept.unwrap_or(&empty);
        self.number(kept.count as u64);
        self.list(&kept.frames, |out, frame| out.bytes(frame));
    }

    fn record(&mut self, record: &CallRecord) {
        self.text(record.id.as_str());
        self.number(record.sequence.into());
        self.text(&record.node.0);
        self.0.push(match record.state {
            CallState::Ringing => 0,
            CallState::Active => 1,
            CallState::Ended => 2,
        });
        self.party(&record.caller);
        self.option(record.callee.as_ref(), |out, user| out.text(user.as_str()));
        self.option(record.room.as_ref(), |out, room| out.text(room.as_str()));
        self.option(record.answerer.as_ref(), Self::party);
        self.list(&record.media, |out, kind| out.text(kind));
        self.number(record.devices.into());
        self.number(record.created);
        for time in [record.rung, record.answered, record.ended] {
            self.option(time, Self::number);
        }
        self.option(record.outcome, |out, outcome| out.0.push(outcome_byte(outcome)));
        self.option(record.reason.as_deref(), Self::text);
        self.option(record.ended_by.as_ref(), |out, user| out.text(user.as_str()));
        self.option(record.is_relayed, |out, is_relayed| out.0.push(u8::from(is_relayed)));
        self.option(record.attrs.as_deref(), Self::bytes);
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*array)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn millis(&mut self) -> Option<std::time::Duration> {
        self.number().map(std::time::Duration::from_millis)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.array().map(u32::from_be_bytes)? as usize;
        let (bytes, rest) = self.0.split_at_checked(length).filter(|_| length <= BYTES_MAX)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    fn user(&mut self) -> Option<UserId> {
        UserId::parse(self.text()?)
    }

    fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.byte()? {
            0 => Some(None),
            1 => read(self).map(Some),
            _ => None,
        }
    }

    fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.array().map(u16::from_be_bytes).filter(|count| usize::from(*count) <= ITEMS_MAX)?;
        (0..count).map(|_| read(self)).collect()
    }

    fn place(&mut self) -> Option<Place> {
        let Party { user, device, session } = self.party()?;
        Some(Place { user, device, session })
    }

    fn party(&mut self) -> Option<Party> {
        Some(Party {
            user: self.user()?,
            device: self.text()?.into(),
            session: SessionId(u128::from_be_bytes(self.array()?)),
        })
    }

    fn presence(&mut self, now: Instant) -> Option<Presence> {
        match self.byte()? {
            0 => Some(Presence::Here),
            1 => Some(Presence::Away(now.after(self.millis()?))),
            2 => Some(Presence::Lost),
            _ => None,
        }
    }

    fn kept(&mut self) -> Option<Kept> {
        let count = usize::try_from(self.number()?).ok()?;
        let frames = self.list(|input| Some(Bytes::copy_from_slice(input.bytes()?)))?;
        Some(Kept::restored(frames, count))
    }

    fn record(&mut self) -> Option<CallRecord> {
        Some(CallRecord {
            id: CallId::parse(self.text()?)?,
            sequence: u32::try_from(self.number()?).ok()?,
            node: NodeName(self.text()?.into()),
            state: match self.byte()? {
                0 => CallState::Ringing,
                1 => CallState::Active,
                2 => CallState::Ended,
                _ => return None,
            },
            caller: self.party()?,
            callee: self.option(Self::user)?,
            room: self.option(|input| RoomId::parse(input.text()?))?,
            answerer: self.option(Self::party)?,
            media: self.list(|input| Some(input.text()?.into()))?,
            devices: u32::try_from(self.number()?).ok()?,
            created: self.number()?,
            rung: self.option(Self::number)?,
            answered: self.option(Self::number)?,
            ended: self.option(Self::number)?,
            outcome: self.option(|input| outcome_of(input.byte()?))?,
            reason: self.option(|input| Some(input.text()?.into()))?,
            ended_by: self.option(Self::user)?,
            is_relayed: self.option(|input| Some(input.byte()? == 1))?,
            attrs: self.option(|input| Some(Bytes::copy_from_slice(input.bytes()?)))?,
        })
    }
}

const fn outcome_byte(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Completed => 0,
        Outcome::Rejected => 1,
        Outcome::Cancelled => 2,
        Outcome::Missed => 3,
        Outcome::Failed => 4,
        Outcome::Glare => 5,
    }
}

const fn outcome_of(byte: u8) -> Option<Outcome> {
    Some(match byte {
        0 => Outcome::Completed,
        1 => Outcome::Rejected,
        2 => Outcome::Cancelled,
        3 => Outcome::Missed,
        4 => Outcome::Failed,
        5 => Outcome::Glare,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Call {
        let user = |name| UserId::parse(name).unwrap();
        let party =
            |name, session| Party { user: user(name), device: "web".into(), session: SessionId(session) };
        let place =
            |name, session| Place { user: user(name), device: "".into(), session: SessionId(session) };
        let at = Instant::from_millis;
        let kept = Kept::restored(vec![Bytes::from_static(b"1"), Bytes::from_static(b"23")], 5);
        Call {
            record: CallRecord {
                id: CallId::parse("c_1").unwrap(),
                sequence: 3,
                node: NodeName("n1".into()),
                state: CallState::Active,
                caller: party("ann", 1),
                callee: Some(user("bob")),
                room: RoomId::parse("r"),
                answerer: Some(party("bob", 2)),
                media: vec!["audio".into()],
                devices: 2,
                created: 17,
                rung: Some(18),
                answered: Some(19),
                ended: None,
                outcome: Some(Outcome::Glare),
                reason: Some("user".into()),
                ended_by: Some(user("ann")),
                is_relayed: Some(true),
                attrs: Some(Bytes::from_static(b"{}")),
            },
            target: Target::Session,
            expires: at(60_000),
            offered: at(400),
            rung: Some(at(500)),
            offer: Bytes::from_static(b"offer"),
            candidates: kept.clone(),
            devices: vec![
                Device { place: place("bob", 2), is_asked: true, has_rung: true, candidates: None },
                Device {
                    place: place("bob", 3),
                    is_asked: false,
                    has_rung: false,
                    candidates: Some(Box::new(kept)),
                },
            ],
            caller: Presence::Away(at(2000)),
            answerer: Presence::Lost,
            is_pushed: true,
            generation: 0,
        }
    }

    fn now() -> Now {
        Now { monotonic: Instant::from_millis(1000), unix_millis: 5 }
    }

    #[test]
    fn a_call_is_read_as_it_is_written() {
        let whole = call().pack(now());
        assert_eq!(format!("{:?}", Call::unpack(now(), &whole).unwrap()), format!("{:?}", call()));
    }

    #[test]
    fn bytes_that_are_cut_or_changed_are_refused_or_read_and_never_panic() {
        let whole = call().pack(now());
        for end in 0..whole.len() {
            assert!(Call::unpack(now(), &whole[..end]).is_none(), "{end}");
        }
        for index in 0..whole.len() {
            for bit in 0..8 {
                let mut changed = whole.to_vec();
                changed[index] ^= 1 << bit;
                drop(Call::unpack(now(), &changed));
            }
        }
    }
}
