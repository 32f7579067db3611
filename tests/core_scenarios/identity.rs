//! What is told of allocations: ids, whose they are, lists, secrets in use; and ending one by its id.

use std::time::Duration;

use iceway::{
    credentials::{KeyId, Wish},
    turn::{AllocationId, CloseReason, DropReason, Event, Identity, ListPage, ListQuery},
};

use crate::support_core::{Client, EPOCH, Outcome, PEER, Request, SECRET, Scene, Stage, secret, udp};

fn at(port: u16) -> String {
    format!("203.0.113.5:{port}")
}

fn wish(user: &str) -> Wish<'_> {
    Wish::new(user, Duration::from_secs(3600))
}

fn key(id: &str) -> Option<KeyId> {
    Some(KeyId::new(id).unwrap())
}

fn list(scene: &Scene, query: &ListQuery) -> ListPage {
    scene.server.list(scene.now, query)
}

/// Which clients are on a page.
fn ports(page: &ListPage) -> Vec<u16> {
    page.allocations.iter().map(|listed| listed.five_tuple.client.port()).collect()
}

fn id(scene: &Scene, port: u16) -> AllocationId {
    let page = list(scene, &all());
    page.allocations.iter().find(|listed| listed.five_tuple.client.port() == port).unwrap().id
}

#[test]
fn events_say_whose_an_allocation_is() {
    let mut scene = Scene::new();
    let mut client = Client::minted(&at(1), &Wish { label: Some("desk"), ..wish("carol") });
    let relayed = client.allocate(&mut scene);
    let identity = Identity { user: "carol".into(), label: Some("desk".into()), key_id: key("k1") };
    scene.pass_seconds(90);
    assert_eq!(client.ask(&mut scene, &Request::refresh(0)).code(), 0);

    let username: Box<str> = client.username.as_str().into();
    let created = Event::Created {
        id: AllocationId(1),
        five_tuple: client.from,
        username: username.clone(),
        identity: identity.clone(),
        relayed: vec![relayed],
        lifetime: 600,
    };
    assert_eq!(scene.events[0], created);
    let Some(Event::Closed { id, started_unix, summary, username: closed, identity: whose, .. }) =
        scene.events.last()
    else {
        panic!("{:?}", scene.events)
    };
    assert_eq!((*id, *started_unix, summary.seconds), (AllocationId(1), EPOCH, 90));
    assert_eq!((closed, whose), (&username, &identity));
}

#[test]
fn plain_and_static_users_are_told_as_far_as_they_are_known() {
    let mut scene = Scene::new();
    Client::limited(&at(1), "carol~x", 600).allocate(&mut scene);
    Client::alice(&at(2)).allocate(&mut scene);
    let mut reversed = Client::limited(&at(3), "", 600);
    reversed.username = format!("dave:{}", EPOCH + 600);
    reversed.password = secret("k2", "south").password(&reversed.username).as_str().into();
    reversed.allocate(&mut scene);

    let page = list(&scene, &ListQuery { limit: 10, ..ListQuery::default() });
    let told: Vec<_> = page.allocations.into_iter().map(|listed| listed.identity).collect();
    let plain = |user: &str, key_id| Identity { user: user.into(), label: None, key_id };
    assert_eq!(told, [plain("carol~x", key("k1")), plain("alice", None), plain("dave", key("k2"))]);
}

#[test]
fn a_listed_allocation_says_what_it_is_and_did() {
    let mut scene = Scene::new();
    let mut client = Client::minted(&at(1), &Wish { label: Some("desk"), ..wish("carol") });
    let answer = client.ask(&mut scene, &Request::allocate().also_ipv6());
    assert_eq!(client.permit(&mut scene, &[PEER]), 0);
    client.send(&mut scene, PEER, b"four").relayed();
    scene.peer_input(answer.relayed()[0], PEER, 7);
    scene.pass_seconds(100);

    let page = list(&scene, &ListQuery { limit: 1, ..ListQuery::default() });
    let [listed] = &page.allocations[..] else { panic!("{page:?}") };
    assert_eq!((&*listed.username, listed.five_tuple), (client.username.as_str(), client.from));
    assert_eq!(listed.relayed, answer.relayed());
    assert_eq!((listed.created_unix, listed.expires_in), (EPOCH, 500));
    assert_eq!(listed.created.after(Duration::from_secs(100)), scene.now.monotonic);
    assert_eq!((listed.to_peers.bytes, listed.to_client.bytes), (4, 7));
    assert_eq!(page.next, None);
}

#[test]
fn pages_follow_one_another_in_the_order_of_ids() {
    let mut scene = Scene::new();
    for port in 1..=7 {
        Client::alice(&at(port)).allocate(&mut scene);
    }
    let gone = [2, 5].map(|port| id(&scene, port));
    for id in gone {
        assert!(scene.server.close_allocation(scene.now, id));
    }
    scene.drain();
    // It takes the place of one that is gone, but not its id.
    Client::alice(&at(8)).allocate(&mut scene);
    assert!(!gone.contains(&id(&scene, 8)));

    let (mut seen, mut query) = (Vec::new(), ListQuery { limit: 2, ..ListQuery::default() });
    loop {
        let page = list(&scene, &query);
        assert!(page.allocations.len() <= 2);
        seen.extend(page.allocations.iter().map(|listed| (listed.id, listed.five_tuple.client.port())));
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    assert!(seen.is_sorted());
    let mut seen: Vec<u16> = seen.into_iter().map(|(_, port)| port).collect();
    seen.sort_unstable();
    assert_eq!(seen, [1, 3, 4, 6, 7, 8]);
    let beyond = ListQuery { after: Some(AllocationId(u64::MAX)), limit: 9, ..ListQuery::default() };
    assert_eq!(list(&scene, &beyond), ListPage::default());
}

#[test]
fn a_list_may_be_of_one_user_or_label() {
    let mut scene = Scene::new();
    for (port, (user, label)) in
        (1..).zip([("carol", "desk"), ("dave", "desk"), ("carol", "sofa"), ("carol", "desk")])
    {
        Client::minted(&at(port), &Wish { label: Some(label), ..wish(user) }).allocate(&mut scene);
    }
    let wanted = |user: Option<&str>, label: Option<&str>| {
        let query = ListQuery { user: user.map(Into::into), label: label.map(Into::into), ..all() };
        ports(&list(&scene, &query))
    };

    assert_eq!(wanted(Some("carol"), None), [1, 3, 4]);
    assert_eq!(wanted(None, Some("desk")), [1, 2, 4]);
    assert_eq!(wanted(Some("carol"), Some("sofa")), [3]);
    assert_eq!(wanted(Some("car"), None), [0; 0]);
    assert_eq!(wanted(None, Some("")), [0; 0]);
}

#[test]
fn a_page_of_what_is_rare_may_be_empty_but_says_where_to_go_on() {
    let mut scene = Stage::with(|stage| stage.ports = (10_000, 65_535));
    scene.unchecked = true;
    for step in 0..9000_u16 {
        Client::alice(&format!("203.0.{}.{}:9", step >> 8, step & 0xff)).allocate(&mut scene);
    }
    Client::user(udp(&at(1)), "bob", "builder").allocate(&mut scene);

    let query = ListQuery { user: Some("bob".into()), ..all() };
    let first = list(&scene, &query);
    let second = list(&scene, &ListQuery { after: first.next, ..query });

    assert_eq!((ports(&first), ports(&second)), (Vec::new(), vec![1]));
    assert_eq!(second.next, None);
    assert_eq!(list(&scene, &ListQuery { limit: usize::MAX, ..all() }).allocations.len(), 1000);
}

#[test]
fn an_allocation_is_ended_by_its_id_once() {
    let mut scene = Scene::new();
    let mut client = Client::alice(&at(1));
    client.allocate(&mut scene);
    assert_eq!(client.bind(&mut scene, 0x4000, PEER), 0);

    let first = id(&scene, 1);
    assert!(scene.server.close_allocation(scene.now, first));
    scene.drain();

    assert_eq!(client.send_on(&mut scene, 0x4000, b"x"), Outcome::Drop(DropReason::NoAllocation));
    assert_eq!(scene.server.counters().closed.get(CloseReason::Closed), 1);
    assert_eq!((scene.server.allocations(), scene.taken_ports()), (0, 0));
    client.allocate(&mut scene);
    for id in [0, first.0, first.0 + 100, u64::MAX] {
        assert!(!scene.server.close_allocation(scene.now, AllocationId(id)));
    }
    let second = id(&scene, 1);
    assert!(scene.server.close_allocation(scene.now, second));
}

#[test]
fn an_allocation_being_made_has_no_id_yet() {
    let mut scene = Scene::new();
    scene.binds_by_hand = true;
    assert_eq!(Client::alice(&at(1)).outcome(&mut scene, &Request::allocate()), Outcome::Pending);

    assert!(!scene.server.close_allocation(scene.now, AllocationId(0)));
    assert!(!scene.server.close_allocation(scene.now, AllocationId(1)));
    assert_eq!(list(&scene, &all()), ListPage::default());
    assert_eq!(scene.server.key_ids_in_use(), []);
}

#[test]
fn secrets_are_in_use_as_long_as_an_allocation_lives_by_them() {
    let mut scene = Scene::new();
    let used = |scene: &Scene| {
        let mut used = scene.server.key_ids_in_use();
        used.sort_unstable();
        used.into_iter().map(|(id, count)| (id.to_string(), count)).collect::<Vec<_>>()
    };
    let mut first = Client::minted(&at(1), &wish("carol"));
    first.allocate(&mut scene);
    Client::limited(&at(2), "dave", 600).allocate(&mut scene);
    Client::alice(&at(3)).allocate(&mut scene);
    let mut south = Client::limited(&at(4), "erin", 600);
    south.password = secret("k2", "south").password(&south.username).as_str().into();
    south.allocate(&mut scene);
    assert_eq!(used(&scene), [("k1".into(), 2), ("k2".into(), 1)]);

    // The same name signed with another secret: from now on it lives by that one.
    south.password = secret("k1", SECRET).password(&south.username).as_str().into();
    assert_eq!(south.ask(&mut scene, &Request::refresh(600)).code(), 0);
    assert_eq!(used(&scene), [("k1".into(), 3)]);

    assert_eq!(first.ask(&mut scene, &Request::refresh(0)).code(), 0);
    assert_eq!(used(&scene), [("k1".into(), 2)]);
    scene.server.close_all(scene.now);
    scene.drain();
    assert_eq!(used(&scene), []);
}

fn all() -> ListQuery {
    ListQuery { limit: 1000, ..ListQuery::default() }
}
