//! `iceway doctor` against a healthy server, which it must leave in peace, and against servers that are broken in one known
//! way each, which it must name, and nothing else.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::namespace::Namespace;
use crate::support::ports::free_port;
use crate::support::server::{API_KEY, SECRET, USER};
use crate::support::{Authority, Client, Server, Setup};
use crate::support_redis;

/// No run takes longer, whatever is silent.
const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn a_healthy_server_is_left_in_peace() {
    let server = server(Setup::default());
    let report = Doctor::inside(&server).run();
    assert_eq!(report.wrong(), [], "{}", report.text);
    assert_eq!(report.count("reach.udp", "ok"), 2, "both families: {}", report.text);
    assert_eq!(report.count("reach.tcp", "ok"), 2, "{}", report.text);
    assert_eq!(report.count("reach.tls", "ok"), 2, "{}", report.text);
    assert!(report.exit == Some(0));
    let metrics = ["transport=\"udp\"", "transport=\"tcp\"", "transport=\"tls\""];
    for transport in metrics {
        assert!(server.metric("iceway_allocations_created_total", &[transport]) >= 4.0, "{transport}");
        assert_eq!(server.metric("iceway_allocations", &[transport]), 0.0, "all are given back");
    }
}

#[test]
fn a_healthy_server_is_seen_from_outside_with_a_key_alone() {
    let server = server(Setup::default());
    let url = format!("http://{}", server.http);
    let report = Doctor::outside(&server).arg("--server").arg(&url).env("ICEWAY_DOCTOR_KEY", API_KEY).run();
    assert_eq!(report.wrong(), [], "{}", report.text);
    for id in ["reach.stun", "reach.udp", "reach.tcp", "reach.tls", "signal.websocket", "clock.peer"] {
        assert!(report.count(id, "ok") > 0, "{id}: {}", report.text);
    }
    let uri = format!("turn:{}?transport=tcp", server.address());
    let password = server.directory().join("password");
    std::fs::write(&password, USER.1).unwrap();
    let doctor = Doctor::outside(&server).arg("--target").arg(&uri).arg("--username").arg(USER.0);
    let report = doctor.arg("--password-file").arg(password.to_str().unwrap()).run();
    assert_eq!(report.ids("ok"), BTreeSet::from(["reach.tcp".to_owned(), "address.relayed".to_owned()]));
}

#[test]
fn every_trap_of_the_configuration_is_found_alone() {
    let server = server(Setup::default());
    let other_key = Authority::new(&scratch(&server, "other"));
    other_key.issue("other");
    let key = other_key.key_path();
    private(&key);
    let closed = free_port();
    let cases: Vec<(&str, Vec<String>, &str, &str)> = vec![
        (
            "a TCP port that is closed",
            flags("--listen-tcp", &format!("127.0.0.1:{closed}")),
            "reach.tcp",
            "failure",
        ),
        ("everything allowed", flags("--peers-allow", "0.0.0.0/0"), "policy.peers", "failure"),
        ("metadata allowed", flags("--peers-allow", "169.254.0.0/16"), "policy.peers", "failure"),
        ("another key", flags("--tls-private-key", key.to_str().unwrap()), "certificate.key", "failure"),
        ("a name without address", flags("--node-host", "turn.invalid"), "address.host", "failure"),
        ("keys in queries", vec!["--api-allow-query-key".to_owned()], "policy.query_key", "warning"),
        ("no port", flags("--relay-port-min", "65536"), "configuration", "failure"),
    ];
    for (what, flags, id, level) in cases {
        let report = Doctor::inside(&server).args(&flags).run();
        let wrong: Vec<_> = report.wrong().into_iter().filter(|(it, _)| it != "certificate.names").collect();
        assert_eq!(wrong, [(id.to_owned(), level.to_owned())], "{what}: {}", report.text);
        assert_eq!(report.exit, Some(i32::from(level == "failure")), "{what}");
    }
}

#[test]
fn a_secret_that_is_not_the_servers_is_one_fault_and_a_weak_one_another() {
    let strong = server(Setup::default());
    let report = Doctor::inside(&strong).env("ICEWAY_AUTH_SECRET", "Another-secret-of-32-characters.").run();
    assert_eq!(report.wrong(), [("server.credential".to_owned(), "failure".to_owned())], "{}", report.text);
    let weak = server(Setup::default().with("auth.secret", "\"0123456789abcdef\""));
    let report = Doctor::inside(&weak).run();
    assert_eq!(report.wrong(), [("policy.secret".to_owned(), "failure".to_owned())], "{}", report.text);
    assert!(!report.text.contains("0123456789abcdef"), "{}", report.text);
}

#[test]
fn certificates_are_judged_by_date_and_name() {
    let server = server(Setup::default());
    let doctor = || Doctor::inside(&server).arg("--node-host").arg("localhost");
    let good = doctor().run();
    assert_eq!(good.wrong(), [], "{}", good.text);
    for (what, name, is_expired, id) in [
        ("expired", "localhost", true, "certificate.dates"),
        ("of another", "other.example", false, "certificate.names"),
    ] {
        server.authority.issue_for(name, is_expired);
        private(&server.authority.key_path());
        let report = doctor().run();
        assert_eq!(report.wrong(), [(id.to_owned(), "failure".to_owned())], "{what}: {}", report.text);
    }
}

#[test]
fn swallowed_udp_is_found() {
    let machine = Namespace::new("doctor");
    let setup = Setup::default();
    let server = machine.enter(|| Server::start_with(machine.command(env!("CARGO_BIN_EXE_iceway")), setup));
    prepare(&server);
    machine.run("nft add table inet doctor");
    machine.run("nft add chain inet doctor in { type filter hook input priority 0 ; }");
    machine.run(&format!("nft add rule inet doctor in udp dport {} drop", server.port));
    let report = Doctor::inside(&server).within(&machine).run();
    assert_eq!(report.wrong(), [("reach.udp".to_owned(), "failure".to_owned())], "{}", report.text);
    assert!(report.text.contains("firewall"), "{}", report.text);
}

#[test]
fn relay_ports_behind_a_firewall_are_found_from_outside() {
    let [client, machine] = ["doctor-client", "doctor-server"].map(Namespace::new);
    client.link("198.18.8.1/24", &machine, "198.18.8.2/24", "cable");
    let setup = Setup::default()
        .with("listen.udp", r#"["198.18.8.2:3478"]"#)
        .with("listen.tcp", "[]")
        .with("listen.tls", "[]")
        .with("peers.allow", r#"["198.18.8.1/32"]"#);
    let server = machine.enter(|| Server::start_with(machine.command(env!("CARGO_BIN_EXE_iceway")), setup));
    let doctor = || {
        let doctor = Doctor::outside(&server).within(&client).arg("--target").arg("turn:198.18.8.2");
        doctor.env("ICEWAY_DOCTOR_USERNAME", USER.0).env("ICEWAY_DOCTOR_PASSWORD", USER.1).run()
    };
    let open = doctor();
    assert_eq!((open.wrong(), open.count("reach.peer", "ok")), (Vec::new(), 1), "{}", open.text);
    let (first, last) = (server.relay_ports().start().to_owned(), server.relay_ports().end().to_owned());
    machine.run("nft add table inet doctor");
    machine.run("nft add chain inet doctor in { type filter hook input priority 0 ; }");
    machine.run(&format!("nft add rule inet doctor in iifname cable udp dport {first}-{last} drop"));
    let closed = doctor();
    assert_eq!(closed.wrong(), [("reach.peer".to_owned(), "failure".to_owned())], "{}", closed.text);
}

#[test]
fn a_nat_is_seen_by_who_is_outside() {
    let [inside, nat, outside] = ["doctor-in", "doctor-nat", "doctor-out"].map(Namespace::new);
    inside.link("10.78.1.2/24", &nat, "10.78.1.1/24", "inside");
    nat.link("198.18.7.1/24", &outside, "198.18.7.2/24", "outside");
    inside.run("ip route add default via 10.78.1.1");
    nat.run("sysctl -q -w net.ipv4.ip_forward=1");
    nat.run("nft add table ip nat");
    nat.run("nft add chain ip nat out { type nat hook postrouting priority 100 ; }");
    nat.run("nft add rule ip nat out oifname outside masquerade");
    let listen = |ip: &str| {
        Setup::default()
            .with("listen.udp", format!("[\"{ip}:3478\"]"))
            .with("listen.tcp", format!("[\"{ip}:3478\"]"))
            .with("listen.tls", "[]")
    };
    let start = |place: &Namespace, ip| {
        let server =
            place.enter(|| Server::start_with(place.command(env!("CARGO_BIN_EXE_iceway")), listen(ip)));
        prepare(&server);
        server
    };
    let (server, _stun) = (start(&inside, "10.78.1.2"), start(&outside, "198.18.7.2"));
    let doctor = |external: &str| {
        let doctor = Doctor::inside(&server).within(&inside).arg("--stun").arg("198.18.7.2");
        if external.is_empty() { doctor } else { doctor.arg("--relay-external").arg(external) }
    };
    let expected = [("address.public".to_owned(), "failure".to_owned())];
    let missing = doctor("").run();
    assert_eq!(missing.wrong(), expected, "{}", missing.text);
    assert!(missing.text.contains("198.18.7.1"), "{}", missing.text);
    let wrong = doctor("198.18.7.9").run();
    assert_eq!(wrong.wrong(), expected, "{}", wrong.text);
    let right = doctor("198.18.7.1").run();
    assert_eq!(right.wrong(), [], "{}", right.text);
}

#[test]
fn what_the_server_has_no_more_of_is_named() {
    let port = free_port() & !1;
    let exhausted = server(Setup::default().with("relay.port_min", port).with("relay.port_max", port + 1));
    let mut clients: Vec<Client> = (0..8).map(|_| Client::new(exhausted.address())).collect();
    let refused = clients.iter_mut().filter_map(|client| client.allocate().err()).last();
    assert_eq!(refused, Some(508), "both ports are taken");
    let report = Doctor::inside(&exhausted).run();
    let ids: BTreeSet<String> = report.wrong().into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, ["reach.tcp", "reach.tls", "reach.udp"].map(str::to_owned).into(), "{}", report.text);
    assert!(report.text.contains("no relay port left"), "{}", report.text);

    let mut program = Command::new("prlimit");
    program.args(["--nofile=64:64", env!("CARGO_BIN_EXE_iceway")]);
    let limited = Server::start_with(program, Setup::default());
    prepare(&limited);
    let report = Doctor::inside(&limited).run();
    assert!(
        report.wrong().contains(&("system.descriptors".to_owned(), "warning".to_owned())),
        "{}",
        report.text
    );
    let others =
        report.wrong().into_iter().filter(|(id, _)| id != "system.descriptors" && !id.starts_with("reach."));
    assert_eq!(others.count(), 0, "{}", report.text);
}

#[test]
fn small_buffers_and_a_server_that_is_down_are_found() {
    let mut server = server(Setup::default().with("runtime.socket_buffer_bytes", "\"1GiB\""));
    let report = Doctor::inside(&server).without_capabilities().run();
    assert_eq!(report.wrong(), [("system.buffers".to_owned(), "warning".to_owned())], "{}", report.text);
    assert_eq!(report.exit, Some(0));
    server.kill();
    let report = Doctor::inside(&server).run();
    assert_eq!(report.wrong(), [("server.running".to_owned(), "failure".to_owned())], "{}", report.text);
}

#[test]
fn other_clocks_and_a_silent_backend_are_asked() {
    let server = server(Setup::default());
    let old =
        answering("HTTP/1.1 200 OK\r\nDate: Mon, 06 Jan 2020 10:00:00 GMT\r\nContent-Length: 0\r\n\r\n");
    let report = Doctor::inside(&server).arg("--peer").arg(&format!("http://{old}/")).run();
    assert_eq!(report.wrong(), [("clock.peer".to_owned(), "failure".to_owned())], "{}", report.text);
    let silent = answering("");
    let secret = server.directory().join("webhook-secret");
    std::fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
    private(&secret);
    let doctor =
        Doctor::inside(&server).arg("--signal-authorize-url").arg(&format!("http://{silent}/decide"));
    let report = doctor.arg("--signal-authorize-secret-file").arg(secret.to_str().unwrap()).run();
    assert_eq!(report.wrong(), [("signal.authorize".to_owned(), "failure".to_owned())], "{}", report.text);
}

#[test]
fn redis_is_judged_by_its_password_and_its_rules() {
    let server = server(Setup::default());
    let key = server.directory().join("cluster.key");
    std::fs::write(&key, "MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXY=\n").unwrap();
    private(&key);
    let rule = iceway::cluster::ACL_RULE;
    let lines = vec![format!("user iceway on >right {rule}"), format!("user lacking on >right {rule} -xadd")];
    let redis = support_redis::Redis::start_with(support_redis::Options { lines, ..Default::default() });
    for (user, password, expected) in [
        ("iceway", "right", None),
        ("iceway", "wrong", Some("redis.connect")),
        ("lacking", "right", Some("redis.acl")),
    ] {
        let url = format!("redis://{user}:{password}@127.0.0.1:{}", redis.port());
        let doctor = Doctor::inside(&server).arg("--redis-cluster-key-file").arg(key.to_str().unwrap());
        let report = doctor.env("ICEWAY_REDIS_URL", &url).run();
        let expected: Vec<_> = expected.map(|id| (id.to_owned(), "failure".to_owned())).into_iter().collect();
        assert_eq!(report.wrong(), expected, "{user}, {password}: {}", report.text);
        assert!(!report.text.contains(&format!(":{password}@")), "{}", report.text);
    }
}

#[test]
fn a_running_server_looks_at_itself_for_who_may_ask() {
    let socket = support_redis::Scratch::new("control");
    let path = socket.path().join("control.sock");
    let server = server(Setup::default().with("http.control_socket", format!("{path:?}")));
    // Nobody but the tests knows the authority of its certificate.
    let private = ("certificate.chain".to_owned(), "warning".to_owned());
    let by_socket = || Doctor::bare().env("ICEWAY_HTTP_CONTROL_SOCKET", path.to_str().unwrap()).run();
    let report = by_socket();
    assert_eq!(report.wrong(), std::slice::from_ref(&private), "{}", report.text);
    for id in ["reach.udp", "reach.tcp", "reach.tls"] {
        assert_eq!(report.count(id, "ok"), 2, "both families, {id}: {}", report.text);
    }
    assert_eq!(report.count("server.changed", "ok"), 1, "{}", report.text);
    assert!(report.value["about"].as_str().unwrap().starts_with("iceway doctor · node "), "{}", report.text);

    let url = format!("http://{}", server.http);
    let by_key = Doctor::outside(&server).arg("--server").arg(&url).env("ICEWAY_DOCTOR_KEY", API_KEY).run();
    assert_eq!(by_key.count("server.report", "ok"), 1, "{}", by_key.text);
    assert!(by_key.count("policy.peers", "ok") == 1 && by_key.wrong().is_empty(), "{}", by_key.text);
    let new = serde_json::json!({ "name": "issues", "scopes": ["issue"] });
    let key = server.post("/v1/api-keys", &new).expect(201).json()["key"].as_str().unwrap().to_owned();
    let issuing = Doctor::outside(&server).arg("--server").arg(&url).env("ICEWAY_DOCTOR_KEY", &key).run();
    assert_eq!(issuing.count("server.report", "skipped"), 1, "{}", issuing.text);
    assert_eq!((issuing.count("policy.peers", "ok"), issuing.wrong()), (0, Vec::new()), "{}", issuing.text);

    let file = server.directory().join("iceway.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}runtime.drain_timeout = \"7m\"\n")).unwrap();
    let changed = by_socket();
    let expected = ("server.changed".to_owned(), "warning".to_owned());
    assert_eq!(changed.wrong(), [private.clone(), expected], "{}", changed.text);
    std::fs::write(&file, format!("{text}runtime.drain_timeout = \"never\"\n")).unwrap();
    let broken = by_socket();
    let expected = ("configuration".to_owned(), "failure".to_owned());
    assert_eq!(broken.wrong(), [private, expected], "{}", broken.text);
    assert_eq!((broken.exit, broken.count("reach.udp", "ok")), (Some(1), 2), "it goes on: {}", broken.text);
}

#[test]
fn the_control_socket_gives_what_no_configuration_has() {
    let socket = support_redis::Scratch::new("control");
    let path = socket.path().join("control.sock");
    // Neither a secret nor users: what it relays with is known to the server alone.
    let setup = Setup::default()
        .with("http.control_socket", format!("{path:?}"))
        .with("auth.users_file", "")
        .with("auth.secret", "");
    let server = server(setup);
    let report = Doctor::inside(&server).run();
    assert_eq!((report.wrong(), report.count("reach.udp", "ok")), (Vec::new(), 2), "{}", report.text);
    assert!(report.text.contains("the server gives one"), "{}", report.text);
}

#[test]
fn client_certificates_on_the_api_are_no_fault() {
    let authority = support_redis::Authority::new();
    let setup = Setup::default().with("http.client_ca_file", format!("{:?}", authority.certificate));
    let server = server(setup);
    let inside = Doctor::inside(&server).run();
    assert_eq!((inside.wrong(), inside.count("reach.tls", "ok")), (Vec::new(), 2), "{}", inside.text);
    let url = format!("https://{}", server.http);
    let outside = Doctor::outside(&server).arg("--server").arg(&url).env("ICEWAY_DOCTOR_KEY", API_KEY).run();
    assert_eq!((outside.wrong(), outside.count("server.report", "ok")), (Vec::new(), 1), "{}", outside.text);
}

#[test]
fn redis_is_judged_behind_sentinels_in_a_cluster_and_over_tls() {
    let server = server(Setup::default());
    let key = server.directory().join("cluster.key");
    std::fs::write(&key, "MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXY=\n").unwrap();
    private(&key);
    let authority = Arc::new(support_redis::Authority::new());
    let judge = |layout: &str, url: &str| {
        for (user, password, expected) in [
            ("iceway", "right", None),
            ("iceway", "wrong", Some("redis.connect")),
            ("lacking", "right", Some("redis.acl")),
        ] {
            let url = url.replacen("://", &format!("://{user}:{password}@"), 1);
            let mut doctor =
                Doctor::inside(&server).arg("--redis-cluster-key-file").arg(key.to_str().unwrap());
            if url.starts_with("rediss") {
                for (flag, file) in [
                    ("--redis-ca-file", &authority.certificate),
                    ("--redis-certificate", &authority.client_certificate),
                    ("--redis-private-key", &authority.client_key),
                ] {
                    private(file);
                    doctor = doctor.arg(flag).arg(file.to_str().unwrap());
                }
            }
            let report = doctor.env("ICEWAY_REDIS_URL", &url).run();
            let expected: Vec<_> =
                expected.map(|id| (id.to_owned(), "failure".to_owned())).into_iter().collect();
            assert_eq!(report.wrong(), expected, "{layout}, {user}, {password}: {}", report.text);
            assert_eq!(
                report.count("redis.latency", "ok"),
                usize::from(password == "right"),
                "{layout}: {}",
                report.text
            );
        }
    };
    let options = |rules: &str| {
        let user = |name: &str, rest: &str| {
            format!("user {name} on >right {} {rules} {rest}", iceway::cluster::ACL_RULE)
        };
        let lines = vec![user("iceway", ""), user("lacking", "-xadd")];
        support_redis::Options {
            lines,
            tls: true,
            authority: Some(Arc::clone(&authority)),
            ..Default::default()
        }
    };
    // Each is of the thread that starts it.
    std::thread::scope(|scope| {
        scope.spawn(|| judge("TLS", &support_redis::Redis::start_with(options("")).tls_url()));
        scope.spawn(|| {
            let sentinels = support_redis::Sentinels::start_with(&options(""));
            judge("Sentinel over TLS", &sentinels.tls_url());
        });
        scope.spawn(|| {
            let cluster =
                support_redis::RedisCluster::start_with(&options(iceway::cluster::ACL_RULE_CLUSTER_7_0));
            judge("Cluster over TLS", &cluster.tls_url());
        });
    });
}

/// A server whose files are as they should be.
fn server(setup: Setup) -> Server {
    let server = Server::start(setup);
    prepare(&server);
    server
}

fn prepare(server: &Server) {
    private(&server.authority.key_path());
    private(&server.directory().join("iceway.toml"));
}

fn private(path: &std::path::Path) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
}

fn scratch(server: &Server, name: &str) -> std::path::PathBuf {
    let path = server.directory().join(name);
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn flags(name: &str, value: &str) -> Vec<String> {
    vec![name.to_owned(), value.to_owned()]
}

/// A listener that answers every connection with this, or never.
fn answering(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 1024];
            // What is asked does not matter.
            if stream.read(&mut request).is_ok() && !answer.is_empty() {
                drop(stream.write_all(answer.as_bytes()));
            }
            open.push(stream);
        }
    });
    address
}

/// One run.
struct Doctor {
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    around: Vec<String>,
}

impl Doctor {
    /// Without anything named.
    fn bare() -> Self {
        let arguments = ["doctor", "--json"].map(str::to_owned).to_vec();
        Self { arguments, environment: Vec::new(), around: Vec::new() }
    }

    fn inside(server: &Server) -> Self {
        Self::outside(server).arg("--config").arg(server.directory().join("iceway.toml").to_str().unwrap())
    }

    fn outside(server: &Server) -> Self {
        let ca_file = server.authority.path().to_str().unwrap().to_owned();
        let arguments = ["doctor", "--json", "--ca-file"].map(str::to_owned).to_vec();
        let arguments = arguments.into_iter().chain([ca_file]).collect();
        Self { arguments, environment: Vec::new(), around: Vec::new() }
    }

    fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    fn args(mut self, arguments: &[String]) -> Self {
        self.arguments.extend(arguments.iter().cloned());
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    fn within(mut self, namespace: &Namespace) -> Self {
        self.around = ["ip", "netns", "exec", namespace.name()].map(str::to_owned).to_vec();
        self
    }

    fn without_capabilities(mut self) -> Self {
        self.around = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"].map(str::to_owned).to_vec();
        self
    }

    fn run(self) -> Report {
        let mut words =
            self.around.into_iter().chain([env!("CARGO_BIN_EXE_iceway").to_owned()]).chain(self.arguments);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"ICEWAY_") {
                command.env_remove(name);
            }
        }
        let begun = Instant::now();
        let output = command.envs(self.environment).output().unwrap();
        assert!(begun.elapsed() < LIMIT, "it took {:?}", begun.elapsed());
        let text = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        for secret in [SECRET, USER.1, API_KEY] {
            assert!(!text.contains(secret) && !errors.contains(secret), "a secret is shown: {text}{errors}");
        }
        let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{errors}"));
        Report { value, text, exit: output.status.code() }
    }
}

/// What it said.
struct Report {
    value: Value,
    text: String,
    exit: Option<i32>,
}

impl Report {
    fn checks(&self) -> impl Iterator<Item = (&str, &str)> {
        let checks = self.value["checks"].as_array().unwrap().iter();
        checks.map(|check| (check["id"].as_str().unwrap(), check["level"].as_str().unwrap()))
    }

    /// Warnings and failures, each kind once.
    fn wrong(&self) -> Vec<(String, String)> {
        let wrong = self.checks().filter(|(_, level)| ["warning", "failure"].contains(level));
        let wrong: BTreeSet<_> = wrong.map(|(id, level)| (id.to_owned(), level.to_owned())).collect();
        wrong.into_iter().collect()
    }

    fn ids(&self, wanted: &str) -> BTreeSet<String> {
        self.checks().filter(|(_, level)| *level == wanted).map(|(id, _)| id.to_owned()).collect()
    }

    fn count(&self, id: &str, level: &str) -> usize {
        self.checks().filter(|check| *check == (id, level)).count()
    }
}
