//! A Redis that answers garbage.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::stranger::{Manner, Stranger};
use super::{Call, SOON, lines};
use crate::support::nodes::until;
use crate::support::server::TestDirectory;
use crate::support::{Server, Setup};
use crate::support_redis::Redis;

const KEY: &str = "VGhpcnR5LXR3by1ieXRlcy1vZi1hLWNsdXN0ZXIta2V5IQ==\n";
/// A debug build holds about 60 MiB; what a connection may take is bounded by 32 MiB of bytes and as much again for values.
const GROWTH_MAX: u64 = 200 << 20;
/// Connections are tried again after at most 5 s.
const RECOVERY_MAX: Duration = Duration::from_secs(15);

/// What the reason must say, and the mend.
fn words(manner: Manner) -> (&'static str, &'static str) {
    match manner {
        Manner::Honest => ("", ""),
        Manner::Random => ("not the Redis protocol", "name a Redis"),
        Manner::EndlessLine | Manner::HugeText | Manner::HugeList => {
            ("answer is longer than", "name a Redis")
        }
        Manner::Deep => ("breaks the Redis protocol", "name a Redis"),
        Manner::WrongKind => ("unknown version", "name a Redis"),
        Manner::Half | Manner::Slow => ("does not answer", "is it up"),
        Manner::Error => ("go away", "proxy"),
        Manner::LongError => ("red long", "proxy"),
        Manner::Http => ("speaks HTTP", "name a Redis"),
        Manner::Tls => ("speaks TLS", "rediss"),
    }
}

#[test]
fn whatever_answers_in_the_place_of_redis_is_named_by_the_doctor() {
    let directory = TestDirectory::new("stranger");
    let server = Server::start(Setup::default());
    let key = directory.path().join("key");
    write_key(&key);
    std::thread::scope(|scope| {
        for manner in Manner::DISHONEST {
            let (server, key) = (&server, &key);
            scope.spawn(move || {
                let stranger = Stranger::before(0, manner);
                let mut command = Command::new(env!("CARGO_BIN_EXE_iceway"));
                command.args(["doctor", "--json", "--config"]).arg(server.directory().join("iceway.toml"));
                command.arg("--ca-file").arg(server.authority.path());
                command.arg("--redis-cluster-key-file").arg(key).env("ICEWAY_REDIS_URL", stranger.url());
                let output = command.stdin(Stdio::null()).output().unwrap();
                let report: Value = serde_json::from_slice(&output.stdout).unwrap();
                let checks = report["checks"].as_array().unwrap();
                let found: Vec<&Value> = checks
                    .iter()
                    .filter(|check| check["id"].as_str().unwrap().starts_with("redis."))
                    .collect();
                let [found] = found.as_slice() else { panic!("{manner:?}: {found:?}") };
                assert_eq!((&found["id"], &found["level"]), (&"redis.connect".into(), &"failure".into()));
                let (fact, mend) = words(manner);
                let text = found.to_string();
                assert!(text.contains(fact) && text.contains(mend), "{manner:?}: {text}");
                assert!(text.len() < 700 && !text.contains("\\n") && !text.contains("\\u001b"), "{text}");
            });
        }
    });
}

#[test]
fn whatever_redis_becomes_the_relay_goes_on_in_bounded_memory_and_finds_it_again() {
    let parts: Vec<&[Manner]> = Manner::DISHONEST.chunks(2).collect();
    std::thread::scope(|scope| {
        for manners in parts {
            scope.spawn(move || {
                let redis = Redis::start();
                let stranger = Stranger::before(redis.port(), Manner::Honest);
                let directory = TestDirectory::new("garbage");
                let key = directory.path().join("key");
                write_key(&key);
                let setup = Setup::default()
                    .loopback_peers()
                    .with("redis.url", format!("{:?}", stranger.url()))
                    .with("redis.cluster_key_file", format!("{key:?}"));
                let server = Server::start(setup);
                let is_connected = || server.metric("iceway_cluster_connected", &[]) == 1.0;
                until("it is connected", RECOVERY_MAX, is_connected);
                let mut call = Call::begin(&server);
                let before = server.process.resident_bytes();
                let mut most = before;
                for (turn, manner) in manners.iter().enumerate() {
                    stranger.set(*manner);
                    until(&format!("{manner:?} is noticed"), RECOVERY_MAX, || !is_connected());
                    let begun = Instant::now();
                    while begun.elapsed() < Duration::from_secs(1) {
                        call.goes_on();
                        let now = server.process.resident_bytes();
                        most = most.max(now);
                        assert!(now < before + GROWTH_MAX, "{manner:?}: {} MiB", now >> 20);
                    }
                    let page = server.get("/readyz").expect(200).json();
                    assert_eq!(page["status"], "degraded", "{manner:?}: {page}");
                    let told = lines(&server, "The other nodes cannot be reached");
                    assert!(told.len() > turn && told[0].contains("mend="), "{manner:?}: {told:?}");
                    assert!(told.iter().all(|line| line.len() < 700), "{told:?}");
                    stranger.set(Manner::Honest);
                    until(&format!("it recovers from {manner:?}"), RECOVERY_MAX, is_connected);
                }
                eprintln!("{manners:?}: from {} to {} MiB at most", before >> 20, most >> 20);
                call.goes_on();
                call.end();
                until("all is well", SOON, || server.get("/readyz").json()["status"] != "degraded");
            });
        }
    });
}

fn write_key(path: &Path) {
    std::fs::write(path, KEY).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
}
