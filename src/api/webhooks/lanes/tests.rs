//! Hours of deliveries in virtual time.

use super::*;

const START: u64 = 1_790_000_000_000;

fn at(seconds: u64) -> Now {
    Now { monotonic: Duration::from_secs(seconds), unix_millis: START + seconds * 1000 }
}

/// The `place`th event of all, in a lane.
fn event(place: u128, lane: u64, now: Now) -> PendingEvent {
    PendingEvent {
        place: Place(place),
        lane,
        id: format!("evt_{place}").into(),
        time: now.unix_millis,
        body: "{}".into(),
    }
}

/// Runs from second to second; `receives` says whether the receiver takes an event. Answers when it took which.
fn run(
    lanes: &mut Lanes,
    seconds: std::ops::Range<u64>,
    mut happens: impl FnMut(&mut Lanes, u64),
    mut receives: impl FnMut(u64, &Job) -> bool,
) -> (Vec<(u64, u64, u128)>, Vec<u128>) {
    let webhooks = Webhooks::default();
    let (mut taken, mut given_up) = (Vec::new(), Vec::new());
    for second in seconds {
        happens(lanes, second);
        while let Some(job) = lanes.take(at(second)) {
            let is_taken = receives(second, &job);
            let ended = if is_taken { Ended::Delivered } else { Ended::Failed };
            match lanes.ended(&job, ended, at(second), &webhooks) {
                Some(Then::Remove) => taken.push((second, job.lane, job.place.0)),
                Some(Then::GiveUp) => given_up.push(job.place.0),
                Some(Then::Retry) => {}
                None => panic!("{job:?} is nobody's"),
            }
        }
    }
    (taken, given_up)
}

#[test]
fn a_receiver_that_is_down_for_ten_minutes_loses_nothing_and_gets_all_in_order() {
    let mut lanes = Lanes::default();
    // Ten calls with an event each every half minute, from before the outage until after it.
    let mut count = 0;
    let happens = |lanes: &mut Lanes, second: u64| {
        if second < 900 && second.is_multiple_of(30) {
            for lane in 0..10 {
                count += 1;
                lanes.add(0, event(count, lane, at(second)), at(second));
            }
        }
    };
    let (taken, given_up) = run(&mut lanes, 0..1200, happens, |second, _| !(100..700).contains(&second));
    assert_eq!(given_up, [0; 0]);
    assert_eq!(taken.len(), 300);
    for lane in 0..10 {
        let places: Vec<u128> = taken.iter().filter(|taken| taken.1 == lane).map(|taken| taken.2).collect();
        assert!(places.is_sorted() && places.len() == 30, "{places:?}");
    }
    // The first attempt after the outage frees all the others.
    let late = taken.iter().filter(|(second, ..)| (700..=730).contains(second)).count();
    assert!(late >= 200, "{late}");
    assert_eq!((lanes.waiting(), lanes.next_due()), (0, None));
}

#[test]
fn waits_follow_the_schedule_and_end_after_a_day() {
    let mut lanes = Lanes::default();
    lanes.add(0, event(1, 7, at(0)), at(0));
    lanes.add(0, event(2, 7, at(90_000)), at(90_000));
    let mut tries = Vec::new();
    let (taken, given_up) = run(
        &mut lanes,
        0..100_000,
        |_, _| {},
        |second, job| {
            if job.place == Place(1) {
                tries.push(second);
            }
            job.place == Place(2)
        },
    );
    assert_eq!(tries[..6], [0, 5, 35, 155, 755, 4355]);
    assert!((86_400..90_000).contains(tries.last().unwrap()), "{tries:?}");
    assert_eq!(given_up, [1]);
    assert_eq!(taken.len(), 1, "what follows in the lane goes on");
}

#[test]
fn a_call_that_is_refused_holds_up_no_other() {
    let mut lanes = Lanes::default();
    for place in 1..=100 {
        lanes.add(0, event(place, u64::try_from(place).unwrap() % 10, at(0)), at(0));
    }
    let mut refused = 0;
    let (taken, _) = run(
        &mut lanes,
        0..60,
        |_, _| {},
        |_, job| {
            refused += u32::from(job.lane == 3);
            job.lane != 3
        },
    );
    assert_eq!(taken.len(), 90);
    assert!(taken.iter().all(|(second, ..)| *second == 0));
    assert_eq!(refused, 3, "at 0, 5 and 35 s: what others get does not hurry it");
}

#[test]
fn one_event_of_a_lane_is_on_its_way_at_a_time() {
    let mut lanes = Lanes::default();
    let webhooks = Webhooks::default();
    lanes.add(0, event(1, 7, at(0)), at(0));
    lanes.add(0, event(2, 7, at(0)), at(0));
    lanes.add(0, event(3, 8, at(0)), at(0));
    let (first, other) = (lanes.take(at(0)).unwrap(), lanes.take(at(0)).unwrap());
    assert_eq!((first.place, other.place), (Place(1), Place(3)));
    assert_eq!(lanes.take(at(0)), None);
    assert_eq!(lanes.ended(&first, Ended::Delivered, at(0), &webhooks), Some(Then::Remove));
    assert_eq!(lanes.take(at(0)).unwrap().place, Place(2));
    assert_eq!(lanes.take(at(0)), None);
}

#[test]
fn a_partition_that_went_elsewhere_is_forgotten_with_what_is_on_its_way() {
    let mut lanes = Lanes::default();
    let webhooks = Webhooks::default();
    lanes.add(1, event(1, 7, at(0)), at(0));
    lanes.add(2, event(2, 8, at(0)), at(0));
    let (one, two) = (lanes.take(at(0)).unwrap(), lanes.take(at(0)).unwrap());
    lanes.forget(1);
    assert_eq!(lanes.waiting(), 1);
    assert_eq!(lanes.ended(&one, Ended::Delivered, at(1), &webhooks), None);
    assert_eq!(lanes.ended(&two, Ended::Delivered, at(1), &webhooks), Some(Then::Remove));
    // It may come back while an attempt from before is still on its way.
    lanes.add(1, event(1, 7, at(2)), at(2));
    assert_eq!(lanes.ended(&one, Ended::Failed, at(2), &webhooks), None);
    assert_eq!(lanes.take(at(2)).unwrap().place, Place(1));
}

#[test]
fn texts_beyond_the_bound_are_read_when_their_time_comes() {
    let mut lanes = Lanes::default();
    let large = bytes::Bytes::from(vec![b' '; CACHED_BYTES_MAX / 2 + 1]);
    for place in 1..=2 {
        let event =
            PendingEvent { body: large.clone(), ..event(place, u64::try_from(place).unwrap(), at(0)) };
        lanes.add(0, event, at(0));
    }
    let (first, second) = (lanes.take(at(0)).unwrap(), lanes.take(at(0)).unwrap());
    assert!(first.event.is_some() && second.event.is_none());
    assert_eq!(lanes.ended(&first, Ended::Delivered, at(0), &Webhooks::default()), Some(Then::Remove));
    lanes.add(0, PendingEvent { body: large, ..event(3, 3, at(0)) }, at(0));
    assert!(lanes.take(at(0)).unwrap().event.is_some(), "there is room again");
}
