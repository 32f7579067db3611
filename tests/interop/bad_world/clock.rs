//! A clock that jumps by hours and days. A shim before the C library lets the test set the clock of a process.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::{Call, SOON, lines};
use crate::support::nodes::{Issued, until};
use crate::support::server::{TestDirectory, time_limited_credential};
use crate::support::{Client, Server, Setup};
use crate::support_redis::Redis;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// Adds the seconds in a file to the wall clock.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
static volatile long *offset;
static int (*real)(clockid_t, struct timespec *);
__attribute__((constructor)) static void begin(void) {
    real = dlsym(RTLD_NEXT, "clock_gettime");
    int file = open(getenv("TEST_CLOCK"), O_RDONLY);
    void *page = mmap(0, 8, PROT_READ, MAP_SHARED, file, 0);
    if (file < 0 || page == MAP_FAILED) abort();
    offset = page;
}
int clock_gettime(clockid_t clock, struct timespec *time) {
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, time);
    if (offset && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) time->tv_sec += *offset;
    return result;
}
time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
int gettimeofday(struct timeval *out, void *zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    out->tv_sec = now.tv_sec;
    out->tv_usec = now.tv_nsec / 1000;
    return 0;
}
"#;

/// The clock of a process.
pub(super) struct Shim {
    library: PathBuf,
    path: PathBuf,
    file: File,
    _directory: TestDirectory,
}

impl Shim {
    pub(super) fn build() -> Self {
        let directory = TestDirectory::new("clock");
        let [source, library, path] =
            ["clock.c", "clock.so", "offset"].map(|name| directory.path().join(name));
        std::fs::write(&source, SHIM).unwrap();
        let built =
            Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).args([&library, &source]).status();
        assert!(built.unwrap().success(), "apt-get install gcc libc6-dev");
        let file = File::options().create(true).truncate(true).write(true).open(&path).unwrap();
        let shim = Self { library, path, file, _directory: directory };
        shim.set(0);
        shim
    }

    /// Sets the clock so many seconds ahead.
    pub(super) fn set(&self, seconds: i64) {
        self.file.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }

    fn program(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_iceway"));
        command.env("LD_PRELOAD", &self.library).env("TEST_CLOCK", &self.path);
        command
    }

    /// The words before a program that give it this clock.
    pub(super) fn words(&self) -> [String; 3] {
        let [library, path] = [&self.library, &self.path].map(|path| path.display());
        ["env".to_owned(), format!("LD_PRELOAD={library}"), format!("TEST_CLOCK={path}")]
    }
}

#[test]
fn a_clock_that_jumps_is_named_once_and_ends_nothing() {
    let clock = Shim::build();
    let file = TestDirectory::new("clock-store");
    let setup = Setup::default()
        .loopback_peers()
        .with("store.path", format!("{:?}", file.path().join("iceway.redb")));
    let server = Server::start_with(clock.program(), setup);
    let issue =
        || Issued::read(&server.post("/v1/turn/credentials", &json!({ "user": "ann" })).expect(201).json());
    let refused = |user: &str| {
        let (username, password) = time_limited_credential(user);
        Client::new(server.address()).with_credential(username, password).allocate().err()
    };
    server.post("/v1/turn/revocations", &json!({ "user": "mallory" })).expect(201);
    let before = issue();
    let mut call = Call::begin(&server);
    let mut limited = Call::of([(); 2].map(|()| before.client(&server)));
    let mut check = |offset: i64, direction: &str, count: usize| {
        clock.set(offset);
        let words = format!("The clock of this machine jumped {direction}");
        until(&words, SOON, || lines(&server, &words).len() == count);
        // Nonces of before are replaced, credentials that are over end no allocation.
        call.goes_on();
        limited.goes_on();
        // Whoever comes now is served by the clock as it is now.
        issue().allocates_at(&server);
        assert_eq!(refused("mallory"), Some(401), "at {offset} s");
        std::thread::sleep(Duration::from_millis(1200));
        assert_eq!(lines(&server, &words).len(), count, "once");
        assert_eq!(server.metric("iceway_clock_jumps_total", &[direction]), count as f64);
    };
    check(3 * DAY, "forwards", 1);
    check(3 * DAY + HOUR, "forwards", 2);
    check(0, "backwards", 1);
    // What the wrong clock took for over is as it was.
    before.allocates_at(&server);
    check(-5 * HOUR, "backwards", 2);
    check(0, "forwards", 3);
    before.allocates_at(&server);
    let named = lines(&server, "forwards");
    assert!(named[0].contains("seconds=259200") && named[0].contains("timedatectl"), "{named:?}");
    let server_is_quiet = server.process.output().lines().filter(|line| line.contains("ERROR")).count();
    assert_eq!(server_is_quiet, 0);
    call.end();
    limited.end();
}

#[test]
fn nodes_whose_clocks_part_name_it_and_meet_again() {
    let redis = Redis::start();
    let clock = Shim::build();
    let directory = TestDirectory::new("clock-nodes");
    let key = directory.path().join("key");
    std::fs::write(&key, "VGhpcnR5LXR3by1ieXRlcy1vZi1hLWNsdXN0ZXIta2V5IQ==\n").unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let setup = |name: &str| {
        Setup::default()
            .loopback_peers()
            .with("node.id", format!("{name:?}"))
            .with("redis.url", format!("{:?}", redis.url()))
            .with("redis.cluster_key_file", format!("{key:?}"))
    };
    let right = Server::start(setup("right"));
    // It begins with a clock that is a day ahead, which is set right later.
    clock.set(DAY);
    let other = Server::start_with(clock.program(), setup("other"));
    let knows =
        |server: &Server| server.get("/v1/nodes").expect(200).json()["nodes"].as_array().unwrap().len() == 2;
    let mut calls = [Call::begin(&right), Call::begin(&other)];
    let refused = "A message was refused for its age";
    until("both name it", SOON * 2, || [&right, &other].iter().all(|it| lines(it, refused).len() == 1));
    assert!(lines(&right, refused)[0].contains("node=other"), "{:?}", lines(&right, refused));
    for offset in [0, -DAY, 0] {
        clock.set(offset);
        if offset == 0 {
            until("they meet", SOON * 2, || knows(&right) && knows(&other));
        }
        calls.iter_mut().for_each(Call::goes_on);
    }
    // What one revokes holds on the other, although it was ahead.
    let (username, password) = time_limited_credential("mallory");
    other.post("/v1/turn/revocations", &json!({ "user": "mallory" })).expect(201);
    until("the revocation is there", SOON, || {
        let mut client = Client::new(right.address()).with_credential(username.clone(), password.clone());
        let allocated = client.allocate();
        if allocated.is_ok() {
            client.refresh(0).unwrap();
        }
        allocated == Err(401)
    });
    calls.into_iter().for_each(Call::end);
}
