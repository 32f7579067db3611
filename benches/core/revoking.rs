//! What a revocation costs: how long the server is kept from packets, and from all of them together.

use std::{hint::black_box, net::Ipv4Addr, sync::Arc, time::Instant as Stopwatch};

use iceway::{
    credentials::{Claims, Credential, Directory, KeyId, Revocation, Revocations, Secret, Wish},
    stun::{IntegrityKey, Message, attribute, long_term_key_md5},
    turn::{
        Bandwidth, Expiry, Lifetimes, Limits, NonceKey, Options, PeerPolicy, Ports, RelayAddress, Server,
        Setup, Shared, TotalBudget,
    },
};

use super::{NOW, REALM, Xorshift, client, made, message, reply, unsigned};

/// Two relay addresses have ports enough.
const RELAYS: [Ipv4Addr; 2] = [Ipv4Addr::new(80, 1, 1, 1), Ipv4Addr::new(80, 1, 1, 2)];
/// Each user has so many allocations.
const PER_USER: usize = 10;

/// Judges `size` allocations by sets of revocations of several kinds.
pub(super) fn measure(size: usize) {
    let mut server = server();
    allocate(&mut server, size);
    println!(
        "\n{:<38}{:>12}{:>10}{:>14}{:>12}",
        "revoking, milliseconds", "allocations", "ended", "longest call", "in all"
    );
    let all = |step: usize| row(Some(&format!("nobody{step}")), None, "k");
    let one = row(Some("user7"), None, "k");
    let label = row(None, Some("device8"), "k");
    let key = row(None, None, "other");
    judge(&mut server, "nobody, one revocation", [all(0)]);
    judge(&mut server, "nobody, 100 000 revocations", (0..100_000).map(all));
    judge(&mut server, "one user", [one]);
    judge(&mut server, "one label beside 100 000 others", (0..100_000).map(all).chain([label]));
    judge(&mut server, "a secret nobody used", [key]);
    judge(&mut server, "everybody", [row(None, None, "k")]);
    hits();
}

fn judge(server: &mut Server, name: &str, rows: impl IntoIterator<Item = Revocation>) {
    let allocations = server.allocations();
    let revocations = Arc::new(Revocations::new(rows));
    let start = Stopwatch::now();
    let mut cut = server.set_revocations(NOW, revocations);
    let (mut longest, mut ended) = (start.elapsed().as_micros(), 0);
    loop {
        ended += cut.ended;
        while let Some(output) = server.poll_output() {
            black_box(output);
        }
        if cut.is_done {
            break;
        }
        let call = Stopwatch::now();
        cut = server.go_on_revoking(NOW);
        longest = longest.max(call.elapsed().as_micros());
    }
    let whole = start.elapsed().as_micros() as f64 / 1000.0;
    let longest = longest as f64 / 1000.0;
    println!("{name:<38}{allocations:>12}{ended:>10}{longest:>14.2}{whole:>12.2}");
}

/// What one request pays, where there are many revocations of every kind.
fn hits() {
    let rows = (0..100_000_usize).map(|step| {
        let (user, label) = (format!("nobody{step}"), format!("device{step}x"));
        row((step & 1 != 0).then_some(&user), (step & 2 != 0).then_some(&label), "other")
    });
    let start = Stopwatch::now();
    let revocations = Revocations::new(rows);
    let built = start.elapsed().as_millis();
    let username = "1763833200:user7~1~k~1763829600~device7~~";
    let key_id = KeyId::new("k").unwrap();
    let start = Stopwatch::now();
    for _ in 0..100_000 {
        let claims = Claims::read(black_box("user7~1~k~1763829600~device7~~"));
        black_box(revocations.hit(username, &claims, Some(&key_id), 1_763_833_200, NOW.unix));
    }
    let each = start.elapsed().as_nanos() as f64 / 100_000.0;
    println!("100 000 revocations: arranged in {built} ms, {each:.0} ns for each request");
}

fn row(user: Option<&str>, label: Option<&str>, key_id: &str) -> Revocation {
    Revocation {
        id: "r".into(),
        username: None,
        user: user.map(Into::into),
        label: label.map(Into::into),
        key_id: (user.is_none() && label.is_none()).then(|| KeyId::new(key_id).unwrap()),
        issued_before: NOW.unix,
        expires: NOW.unix + 86_400,
        cut: true,
    }
}

fn server() -> Server {
    let relay = |ip: Ipv4Addr| RelayAddress { local: ip.into(), advertised: ip.into() };
    let options = Options {
        listeners: vec!["80.1.1.1:3478".parse().unwrap()],
        relay_addresses: RELAYS.map(relay).to_vec(),
        realm: REALM.into(),
        software: None,
        lifetimes: Lifetimes::default(),
        limits: Limits { unauthenticated_answers_per_second: u32::MAX, ..Limits::default() },
        bandwidth: Bandwidth::default(),
        classes: Arc::default(),
        expiry: Expiry::Allocate,
        external_users: false,
        quality: iceway::turn::QualityOptions::default(),
        legacy_channel_numbers: false,
    };
    let ports = Ports::new(&RELAYS.map(Into::into), 1024, 65_535);
    Server::new(Setup {
        options: Arc::new(options),
        directory: Arc::new(directory()),
        revocations: Arc::default(),
        policy: Arc::new(PeerPolicy::default()),
        shared: Arc::new(Shared::new(ports, TotalBudget::new(None))),
        nonce_key: NonceKey::new(&[7; 32]),
        random: Box::new(Xorshift(0x9e37_79b9_7f4a_7c15)),
    })
}

fn directory() -> Directory {
    let secret = Secret::new(KeyId::new("k").unwrap(), b"a secret of 22 bytes..");
    Directory::builder(REALM).secret(secret).build().unwrap()
}

fn allocate(server: &mut Server, size: usize) {
    let directory = directory();
    for index in 0..size {
        let (user, label) = (format!("user{}", index / PER_USER), format!("device{index}"));
        let wish = Wish { label: Some(&label), ..Wish::new(&user, std::time::Duration::from_secs(3600)) };
        let credential = directory.mint_claims(&wish, NOW.unix).unwrap();
        let from = client(index);
        let challenge = reply(server, from, &unsigned());
        let nonce = Message::parse(&challenge).unwrap().find(attribute::NONCE).unwrap().to_vec();
        made(server, from, &signed(&credential, &nonce));
    }
}

fn signed(credential: &Credential, nonce: &[u8]) -> Vec<u8> {
    let Credential { username, password, .. } = credential;
    let key = IntegrityKey::new(&long_term_key_md5(username, REALM, password.as_str()));
    message(iceway::stun::Class::Request, iceway::stun::Method::ALLOCATE, |w| {
        w.requested_transport(17).unwrap();
        w.attribute(attribute::USERNAME, username.as_bytes()).unwrap();
        w.attribute(attribute::REALM, REALM.as_bytes()).unwrap();
        w.attribute(attribute::NONCE, nonce).unwrap();
        w.integrity_sha1(&key).unwrap();
    })
}
