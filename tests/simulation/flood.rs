//! Strangers cannot make memory grow.

use iceway::{
    stun::{Class, Message, Method, attribute},
    turn::{ClientOutcome, FiveTuple, HistoryLimits, ListenerId, Output, Server},
};

use crate::{
    chance::Chance,
    counting_allocator::bytes_held,
    people::{self, Login},
    wire::{self, Part, Signature, Signing},
    world::World,
};

const STRANGERS: u32 = 10_000;

#[test]
fn requests_without_a_right_credential_leave_nothing_behind() {
    let (mut world, mut chance) = (world(|options| options.external_users = false), Chance::new(1));
    world.shared.history.set_limits(HistoryLimits { is_on: false, ..HistoryLimits::default() });
    // The first ones may fill tables that stay.
    harass(&mut world, &mut chance, 0..500);
    let before = bytes_held();
    harass(&mut world, &mut chance, 500..STRANGERS);

    let grown = bytes_held() - before;
    assert!(grown < 4_096, "{grown} bytes for {STRANGERS} strangers");
    assert_eq!((world.servers[0].allocations(), world.shared.quotas.total()), (0, 0));
}

#[test]
fn what_is_remembered_of_strangers_is_bounded_and_within_what_it_says() {
    let (mut world, mut chance) = (world(|options| options.external_users = false), Chance::new(1));
    let limits = HistoryLimits { strangers: 300, ..HistoryLimits::default() };
    world.shared.history.set_limits(limits);
    let before = bytes_held();
    harass(&mut world, &mut chance, 0..STRANGERS);

    let (grown, size) = (bytes_held() - before, world.shared.history.size());
    assert_eq!((size.users, size.strangers), (0, 300));
    assert!(size.not_kept > 0, "more came than may be noted in a second");
    assert!(grown < 256 << 10, "{grown} bytes for {STRANGERS} strangers, where {size:?} is told");
}

#[test]
fn look_ups_that_are_never_answered_are_bounded_and_forgotten() {
    let (mut world, mut chance) = (world(|options| options.external_users = true), Chance::new(1));
    let before = bytes_held();
    harass(&mut world, &mut chance, 0..STRANGERS);
    let grown = bytes_held() - before;
    assert!(grown < 1 << 20, "{grown} bytes for {STRANGERS} strangers");

    while let Some(deadline) = world.servers[0].poll_deadline() {
        world.now = world.now.max(deadline.as_millis());
        let now = world.time();
        world.servers[0].handle_deadline(now);
        drain(&mut world.servers[0]);
    }
    world.servers[0].check_invariants();
    let left = bytes_held() - before;
    assert!(left < 1 << 18, "{left} bytes are left");
}

#[test]
fn an_answer_to_a_stranger_is_hardly_larger_than_the_request() {
    let mut world = world(|options| options.software = None);
    let request = wire::message(Class::Request, Method::ALLOCATE, [1; 12], &[Part::udp()], None, false);
    let reply = ask(&mut world, stranger(1), &request).expect("a challenge");

    assert!(reply.len() <= 100, "{} bytes for {}", reply.len(), request.len());
}

fn world(change: impl FnOnce(&mut iceway::turn::Options)) -> World {
    let mut world = World::new(4);
    change(&mut world.model.options);
    world.model.options.limits.unauthenticated_answers_per_second = 1_000_000;
    world.replace_options();
    world
}

/// Everything that strangers may try, each from an address of their own.
fn harass(world: &mut World, chance: &mut Chance, strangers: std::ops::Range<u32>) {
    for number in strangers {
        let from = stranger(number);
        let unsigned =
            wire::message(Class::Request, Method::ALLOCATE, chance.bytes(), &[Part::udp()], None, true);
        let challenge = ask(world, from, &unsigned).expect("a challenge");
        let challenge = Message::parse(&challenge).unwrap();
        let login = Login { username: format!("user{number}"), password: "guessed".into() };
        let known = Login { username: "alice".into(), ..login.clone() };
        for login in [&login, &known] {
            for method in [Method::ALLOCATE, Method::REFRESH, Method::CREATE_PERMISSION, Method::CHANNEL_BIND]
            {
                let signature = Signature {
                    login,
                    signing: Signing::Legacy,
                    nonce: challenge.find(attribute::NONCE).unwrap(),
                    algorithms: &[],
                };
                let peer = Part::peer(people::good_peers()[0]);
                let parts = [Part::udp(), Part::channel(0x4000), peer];
                let signed =
                    wire::message(Class::Request, method, chance.bytes(), &parts, Some(&signature), false);
                ask(world, from, &signed);
            }
        }
        let parts = [Part::peer(people::good_peers()[0]), Part::Raw(attribute::DATA, vec![1; 100])];
        ask(
            world,
            from,
            &wire::message(Class::Indication, Method::SEND, chance.bytes(), &parts, None, false),
        );
        ask(world, from, &wire::channel_data(0x4000, b"hello", false));
        ask(world, from, &chance.bytes::<40>());
        ask(world, from, &wire::message(Class::Request, Method::BINDING, chance.bytes(), &[], None, false));
    }
}

fn ask(world: &mut World, from: FiveTuple, bytes: &[u8]) -> Option<Vec<u8>> {
    world.now += 1;
    let now = world.time();
    let server = &mut world.servers[0];
    let reply = match server.handle_client_datagram(now, from, bytes) {
        ClientOutcome::Reply(reply) => Some(reply.to_vec()),
        ClientOutcome::Pending | ClientOutcome::Drop(_) => None,
        ClientOutcome::Relay { .. } => panic!("{from:?} is relayed"),
    };
    drain(server);
    reply
}

/// Look-ups stay unanswered, and nobody is to be helped by a bind.
fn drain(server: &mut Server) {
    while let Some(output) = server.poll_output() {
        assert!(!matches!(output, Output::Bind { .. }), "{output:?}");
    }
}

fn stranger(number: u32) -> FiveTuple {
    FiveTuple::udp(ListenerId(0), (std::net::Ipv4Addr::from(0x5300_0000 + number), 1234).into())
}
