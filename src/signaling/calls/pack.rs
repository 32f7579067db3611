//! A call as bytes, for the node it moves to.

use std::time::Duration;

use bytes::Bytes;

use super::{
    super::{
        Instant, Now, Place, SessionId, UserId,
        link::{
            codec::{read_call, write_call},
            wire::{Reader, Writer},
        },
    },
    call::{Call, Device, Kept, Target},
    sides::Presence,
};

/// The first byte: readers of another format refuse it.
const FORMAT: u8 = 1;
/// What one frame may have.
const FRAME_BYTES_MAX: usize = 1 << 20;
const NAME_BYTES_MAX: usize = 256;
/// Of anything in a call; a room has the most devices.
const ITEMS_MAX: usize = 4096;

const TARGETS: [Target; 3] = [Target::User, Target::Session, Target::Room];

impl Call {
    /// All of a call as bytes. Times are said from now on: nodes have clocks of their own.
    pub(super) fn pack(&self, now: Now) -> Bytes {
        let mut writer = Writer::default();
        write_call(writer.byte(FORMAT), &self.record);
        let target = TARGETS.iter().position(|target| *target == self.target).unwrap_or_default();
        writer.byte(target as u8);
        write_time(&mut writer, self.expires.since(now.monotonic));
        write_time(&mut writer, now.monotonic.since(self.offered));
        writer.option(self.rung, |writer, at| write_time(writer, now.monotonic.since(at)));
        for presence in [self.caller, self.answerer] {
            write_presence(&mut writer, now.monotonic, presence);
        }
        writer.flag(self.is_pushed).blob(&self.offer);
        write_kept(&mut writer, &self.candidates);
        writer.list(self.devices.iter(), |writer, device| {
            let place = &device.place;
            writer.text(place.user.as_str()).text(&place.device).id(place.session.0);
            writer.flag(device.is_asked).flag(device.has_rung);
            writer.option(device.candidates.as_deref(), write_kept);
        });
        writer.into_bytes()
    }

    /// The call that bytes of another node say; `None` if they do not.
    pub(super) fn unpack(now: Now, bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        if reader.byte()? != FORMAT {
            return None;
        }
        let now = now.monotonic;
        let call = Self {
            record: read_call(&mut reader)?,
            target: TARGETS.get(usize::from(reader.byte()?)).copied()?,
            expires: now.after(read_time(&mut reader)?),
            offered: now.before(read_time(&mut reader)?),
            rung: reader.option(|reader| Some(now.before(read_time(reader)?)))?,
            caller: read_presence(&mut reader, now)?,
            answerer: read_presence(&mut reader, now)?,
            is_pushed: reader.flag()?,
            offer: reader.bytes(FRAME_BYTES_MAX)?,
            candidates: read_kept(&mut reader)?,
            devices: reader.list(ITEMS_MAX, read_device)?,
            generation: 0,
        };
        reader.is_empty().then_some(call)
    }
}

fn write_time(writer: &mut Writer, time: Duration) {
    writer.number(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
}

fn read_time(reader: &mut Reader<'_>) -> Option<Duration> {
    reader.number().map(Duration::from_millis)
}

fn write_presence(writer: &mut Writer, now: Instant, presence: Presence) {
    match presence {
        Presence::Here => writer.byte(0),
        Presence::Lost => writer.byte(1),
        Presence::Away(until) => {
            write_time(writer.byte(2), until.since(now));
            writer
        }
    };
}

fn read_presence(reader: &mut Reader<'_>, now: Instant) -> Option<Presence> {
    match reader.byte()? {
        0 => Some(Presence::Here),
        1 => Some(Presence::Lost),
        2 => Some(Presence::Away(now.after(read_time(reader)?))),
        3.. => None,
    }
}

fn write_kept(writer: &mut Writer, kept: &Kept) {
    writer.number(kept.count as u64).list(kept.frames.iter(), |writer, frame| {
        writer.blob(frame);
    });
}

fn read_kept(reader: &mut Reader<'_>) -> Option<Kept> {
    let count = reader.small()?;
    Some(Kept::restored(reader.list(ITEMS_MAX, |reader| reader.bytes(FRAME_BYTES_MAX))?, count))
}

fn read_device(reader: &mut Reader<'_>) -> Option<Device> {
    let place = Place {
        user: UserId::parse(reader.text(NAME_BYTES_MAX)?)?,
        device: reader.text(NAME_BYTES_MAX)?.into(),
        session: SessionId(reader.id()?),
    };
    Some(Device {
        place,
        is_asked: reader.flag()?,
        has_rung: reader.flag()?,
        candidates: reader.option(read_kept)?.map(Box::new),
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::super::{CallId, CallRecord, CallState, NodeName, Outcome, Party, RoomId},
        *,
    };

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
