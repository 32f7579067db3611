use std::time::Duration;

use proptest::prelude::*;

use super::{outgoing::BYTES_HARD_MAX, *};

const fn at(milliseconds: u64) -> Instant {
    Instant::from_millis(milliseconds)
}

/// Everything `from` has to send arrives, but what `is_lost` says.
fn carry(now: Instant, from: &mut Channel, to: &mut Channel, mut is_lost: impl FnMut() -> bool) {
    while let Some(packet) = from.poll(now) {
        if !is_lost() {
            to.handle(now, &packet).unwrap();
        }
    }
}

fn taken(channel: &mut Channel) -> Vec<Vec<u8>> {
    let received = channel.take_received();
    let (mut all, mut at) = (Vec::new(), 0);
    while let Some((message, next)) = next_message(&received, at) {
        all.push(message.to_vec());
        at = next;
    }
    channel.put_back(received, at);
    all
}

#[test]
fn a_message_of_any_size_arrives_whole() {
    let (mut one, mut other) = (Channel::new(1), Channel::new(1));
    let large: Vec<u8> = (0..3 * BATCH_BYTES).map(|byte| byte as u8).collect();
    for message in [&b"a"[..], &large, b"", b"b"] {
        assert!(one.push(message));
    }
    carry(at(0), &mut one, &mut other, || false);
    assert_eq!(taken(&mut other), [b"a".to_vec(), large, Vec::new(), b"b".to_vec()]);
    assert_eq!(other.deadline(), Some(at(50)));
    carry(at(50), &mut other, &mut one, || false);
    assert_eq!((one.bytes(), one.deadline()), (0, None));
}

#[test]
fn what_is_not_acknowledged_can_be_looked_through() {
    let (mut one, mut other) = (Channel::new(1), Channel::new(1));
    let half = vec![7; BATCH_BYTES / 2];
    let large = vec![8; 2 * BATCH_BYTES];
    for message in [&half, &half, &large, &half] {
        assert!(one.push(message));
    }
    let all = |channel: &Channel| {
        let waiting = channel.unacknowledged();
        let (mut lengths, mut at) = (Vec::new(), 0);
        while let Some((message, next)) = next_message(&waiting, at) {
            lengths.push(message.len());
            at = next;
        }
        assert_eq!(at, waiting.len());
        lengths
    };
    assert_eq!(all(&one), [half.len(), half.len(), large.len(), half.len()]);
    // Of the large one the first part has arrived: it is not whole any more.
    for _ in 0..3 {
        other.handle(at(0), &one.poll(at(0)).unwrap()).unwrap();
    }
    other.incoming.acknowledge_at = Some(at(0));
    one.handle(at(0), &other.poll(at(0)).unwrap()).unwrap();
    assert_eq!(all(&one), [half.len()]);
}

#[test]
fn what_is_not_acknowledged_comes_again_later_and_later() {
    let mut channel = Channel::new(1);
    channel.push(b"a");
    assert!(channel.poll(at(0)).is_some());
    let mut now = at(0);
    let mut waits = Vec::new();
    for _ in 0..5 {
        let due = channel.deadline().unwrap();
        waits.push(due.since(now).as_millis());
        now = due;
        channel.handle_timeout(now);
        assert!(channel.poll(now).is_some());
    }
    assert_eq!(waits, [500, 1000, 2000, 4000, 5000]);
}

#[test]
fn what_waits_is_bounded() {
    let mut channel = Channel::new(1);
    let message = vec![0; BATCH_BYTES];
    let mut fills = Vec::new();
    while channel.push(&message) {
        fills.push(channel.fill());
    }
    assert!(channel.bytes() <= BYTES_HARD_MAX);
    fills.dedup();
    assert_eq!(fills, [Fill::Free, Fill::Tight, Fill::Full]);
}

#[test]
fn while_the_bus_is_down_all_waits_and_then_comes_in_order() {
    let (mut one, mut other) = (Channel::new(1), Channel::new(1));
    one.push(b"a");
    carry(at(0), &mut one, &mut other, || true);
    one.set_up(at(1), false);
    one.push(b"b");
    assert!(one.poll(at(10_000)).is_none());
    assert_eq!(one.deadline(), None);
    one.set_up(at(10_000), true);
    carry(at(10_000), &mut one, &mut other, || false);
    assert_eq!(taken(&mut other), [b"a", b"b"]);
}

#[test]
fn who_has_not_the_beginning_asks_for_a_new_stream() {
    let (mut one, mut old) = (Channel::new(1), Channel::new(1));
    one.push(b"a");
    carry(at(0), &mut one, &mut old, || false);
    carry(at(50), &mut old, &mut one, || false);
    let mut new = Channel::new(2);
    one.push(b"b");
    carry(at(60), &mut one, &mut new, || false);
    assert!(taken(&mut new).is_empty());
    let asks = new.poll(at(60)).unwrap();
    assert!(one.handle(at(60), &asks).unwrap().must_begin);
    one.begin(5);
    one.push(b"c");
    let packet = one.poll(at(60)).unwrap();
    assert!(new.handle(at(60), &packet).unwrap().has_begun);
    assert_eq!(taken(&mut new), [b"c"]);
    // A packet of the stream before changes nothing any more.
    assert!(!one.handle(at(61), &asks).unwrap().must_begin);
}

proptest! {
    #[test]
    fn whatever_is_lost_all_arrives_once_and_in_order(
        lengths in proptest::collection::vec(0_usize..20_000, 1..60),
        losses in proptest::collection::vec(any::<bool>(), 64),
    ) {
        let (mut one, mut other) = (Channel::new(1), Channel::new(1));
        let mut losses = losses.into_iter().cycle().take(400);
        let mut arrived = Vec::new();
        let mut now = at(0);
        let mut messages = lengths.iter().enumerate().map(|(index, length)| vec![index as u8; *length]);
        let sent: Vec<Vec<u8>> = messages.clone().collect();
        // Losses end, but each of the last ones can cost the longest wait.
        for _ in 0..100_000 {
            match messages.next() {
                Some(message) => drop(one.push(&message)),
                None if one.bytes() == 0 => break,
                None => {}
            }
            carry(now, &mut one, &mut other, || losses.next().unwrap_or(false));
            carry(now, &mut other, &mut one, || losses.next().unwrap_or(false));
            arrived.extend(taken(&mut other));
            now = now.after(Duration::from_millis(25));
            one.handle_timeout(now);
        }
        prop_assert_eq!(arrived, sent);
        prop_assert_eq!(one.bytes(), 0);
    }

    #[test]
    fn no_packet_panics(packets in proptest::collection::vec(
        (0_u8..5, 0_u64..4, 0_u64..6, 0_u64..6, 0_u64..4, 0_u64..6, proptest::collection::vec(any::<u8>(), 0..40)),
        0..40,
    )) {
        let mut channel = Channel::new(2);
        for (kind, stream, seq, base, of_stream, acknowledged, batch) in packets {
            channel.push(b"something");
            while channel.poll(at(0)).is_some() {}
            let mut writer = Writer::default();
            writer.byte(VERSION).byte(kind).number(stream).number(seq).number(base);
            writer.number(of_stream).number(acknowledged).blob(&batch);
            channel.handle(at(0), writer.as_bytes());
            channel.handle(at(0), &batch);
            drop(taken(&mut channel));
        }
    }
}
