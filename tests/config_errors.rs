//! What is wrong with a configuration is said all at once, with key, value, origin and advice.

#![allow(clippy::unwrap_used)]

use std::{
    ffi::OsString,
    fs,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use iceway::config::{Loaded, Sources, load};

/// A directory of its own for each test, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("iceway-config-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn variables(list: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    list.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn flags(list: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
    list.iter()
        .map(|(path, values)| ((*path).to_owned(), values.iter().map(|v| (*v).to_owned()).collect()))
        .collect()
}

fn load_text(text: &str) -> Result<Loaded, Vec<String>> {
    let scratch = Scratch::new();
    let file = scratch.file("f.toml", text);
    let directory = format!("{}/", scratch.0.display());
    load(&Sources { file: Some(file), ..Sources::default() })
        .map_err(|error| error.problems.iter().map(|p| p.to_string().replace(&directory, "")).collect())
}

fn errors(text: &str) -> Vec<String> {
    load_text(text).map(|loaded| loaded.config).expect_err("this is wrong")
}

fn only_error(text: &str) -> String {
    let mut errors = errors(text);
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.remove(0)
}

fn warnings(text: &str) -> Vec<String> {
    load_text(text).unwrap().warnings.iter().map(|warning| warning.message.clone()).collect()
}

#[test]
fn every_error_is_reported_at_once_with_its_line() {
    let found = errors(
        "[listen]\nudp = [\"0.0.0.0\"]\n[relay]\nport_min = 70000\nport_mux = 5\n[tls]\ncertificate = 1\n\
         [streams]\nframe_timeout = \"soon\"\n[peers]\nallow = [\"10.0.0.1/8\"]\n[log]\nredact = \"maybe\"\n",
    );
    let expected = [
        "listen.udp = [\"0.0.0.0\"] (f.toml:2): \"0.0.0.0\" is not an address with a port",
        "relay.port_min = 70000 (f.toml:4): is out of range; write 1 to 65535",
        "relay.port_mux (f.toml:5): is not a key; did you mean relay.port_max?",
        "tls.certificate = 1 (f.toml:7): is not a path; write it in quotes",
        "streams.frame_timeout = \"soon\" (f.toml:9): is not a duration such as \"30s\"",
        "peers.allow = [\"10.0.0.1/8\"] (f.toml:11): \"10.0.0.1/8\" has bits set after its prefix; write \"10.0.0.0/8\"",
        "log.redact = \"maybe\" (f.toml:13): is neither true nor false; write one of them",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n  is not\n{expected}");
    }
}

#[test]
fn unknown_keys_name_the_one_that_was_meant() {
    for (text, meant) in [
        ("[relay]\nmin_port = 1\n", "relay.port_min"),
        ("port_min = 1\n", "relay.port_min"),
        ("[listen]\nport_max = 1\n", "relay.port_max"),
        ("[auth]\nsecretfile = 'x'\n", "auth.secret_file"),
        ("[http]\nlisten_address = 'x'\n", "http.listen"),
        ("[Relay]\nport_min = 1\n", "relay.port_min"),
        ("[limit]\nallocations_per_user = 1\n", "limits.allocations_per_user"),
    ] {
        let error = only_error(text);
        assert!(error.ends_with(&format!("is not a key; did you mean {meant}?")), "{error}");
    }
    assert!(only_error("zzz = 1\n").ends_with("`iceway check --show` lists them all"));
}

#[test]
fn contradictions_are_named() {
    for (text, expected) in [
        (
            "[relay]\nport_min = 6000\nport_max = 5000\n",
            "relay.port_min = 6000 (f.toml:2): is above relay.port_max = 5000; swap them",
        ),
        (
            "[relay]\nport_min = 5001\nport_max = 5002\n",
            "leaves no even port with its successor up to relay.port_max = 5002",
        ),
        ("[relay]\nport_min = 5000\nport_max = 5000\n", "leaves no even port"),
        ("[relay]\naddresses = [\"example.org\"]\n", "\"example.org\" is not an IP address"),
        ("[relay]\naddresses = [\"0.0.0.0\"]\n", "stands for every address"),
        ("[relay]\naddresses = [\"10.0.0.1\", \"10.0.0.1\"]\n", "10.0.0.1 is named twice"),
        ("[relay]\nexternal = [\"203.0.113.5/fd00::1\"]\n", "maps IPv4 to IPv6 or back"),
        (
            "[relay]\nexternal = [\"203.0.113.5\", \"203.0.113.6\"]\n",
            "203.0.113.6 is the second address for all",
        ),
        (
            "[relay]\naddresses = [\"10.0.0.1\"]\nexternal = [\"2001:db8::1\"]\n",
            "no address in relay.addresses is of the family of 2001:db8::1",
        ),
        (
            "[relay]\naddresses = [\"10.0.0.1\"]\nexternal = [\"203.0.113.5/10.0.0.2\"]\n",
            "10.0.0.2 is not in relay.addresses",
        ),
        ("[auth]\nrealm = \"\"\n", "has 0 characters; write 1 to 127"),
        ("[auth]\nrealm = \" \"\n", "is empty; write a name"),
        (
            "[auth]\nsecret = \"abc\"\n",
            "auth.secret (f.toml:2): the secret \"default\" has 3 bytes and is found by trying",
        ),
        ("[auth]\nusername_separator = \"7\"\n", "cannot separate digits"),
        ("[auth]\nusername_separator = \"~\"\n", "stands between the label, class and other claims"),
        ("[tls]\nprivate_key = \"/dev/null\"\n", "has no certificate; set tls.certificate as well"),
        ("[tls]\ncertificate = \"/dev/null\"\n", "has no private key; set tls.private_key as well"),
        ("[listen]\ntls = [\":5349\"]\n", "needs a certificate; set tls.certificate and tls.private_key"),
        ("[listen]\nudp = []\ntcp = []\n", "nobody could connect"),
        (
            "[listen]\nudp = [\":3478\", \"10.0.0.1:3478\"]\n",
            "10.0.0.1:3478 and 0.0.0.0:3478 cover one another",
        ),
        (
            "[listen]\ntcp = [\"127.0.0.1:9641\"]\n",
            "clients are listened for on 127.0.0.1:9641; choose another port",
        ),
        ("[lifetimes]\nallocation_max = \"5m\"\n", "is above lifetimes.allocation_max"),
        ("[log]\nfilter = \"iceway=loud\"\n", "is not a filter"),
        ("[http]\nlisten = \"9641\"\n", "is not an address with a port"),
        ("[bandwidth]\ntotal = \"10MB\"\n", "is not a number of bytes per second"),
        ("[bandwidth]\ntotal = 1.5\n", "a number with a point"),
        ("[relay]\nport_min = -1\n", "is not a whole number; write 1 to 65535"),
        ("[relay]\nport_min = 99999999999999999999\n", "a number this large"),
        ("[relay.port_min]\nx = 1\n", "relay.port_min = a table"),
    ] {
        let error = only_error(text);
        assert!(error.contains(expected), "{error}\n  lacks\n{expected}");
    }
}

#[test]
fn what_works_but_should_change_is_a_warning() {
    assert_eq!(warnings("[auth]\nsecret = \"0123456789abcdef\"\n"), Vec::<String>::new());
    assert!(warnings("[auth]\nsecret = \"0123456789\"\n")[0].contains("has only 10 bytes"));
    assert!(warnings("[peers]\nallow = [\"0.0.0.0/0\"]\n")[0].contains("opens this machine"));
    let both = "[peers]\nallow = [\"10.0.0.0/8\"]\ndeny = [\"10.0.0.0/8\"]\n";
    assert!(warnings(both)[0].contains("which wins"));
    assert!(warnings("[bandwidth]\nper_allocation = 2\ntotal = 1\n")[0].contains("never takes effect"));
    assert!(warnings("[relay]\nexternal = [\"127.0.0.1\"]\n")[0].contains("reached by nobody outside"));
}

#[test]
fn a_secret_is_in_no_message() {
    for text in [
        "[auth]\nsecret = \"hush\"\n",
        "[auth]\nsecret = [\"hushhushhush\"]\n",
        "[auth]\nsecret = \"hush hush hush hush\"\nsecret = \"hush hush hush hush\"\n",
    ] {
        let all = errors(text).join("\n");
        assert!(!all.contains("hush"), "{all}");
    }
    let loaded = load_text("[auth]\nsecret = \"hush hush hush hush\"\n").unwrap();
    let all = format!("{:?}{}", loaded, loaded.show());
    assert!(!all.contains("hush"), "{all}");
    assert!(loaded.show().contains("secret = \"***\"  # "));
}

#[test]
fn flags_win_over_the_environment_over_the_file_over_the_default() {
    let scratch = Scratch::new();
    let file =
        scratch.file("f.toml", "[relay]\nport_min = 1001\nport_max = 2001\n[auth]\nrealm = \"file\"\n");
    let sources = Sources {
        file: Some(file.clone()),
        environment: variables(&[("ICEWAY_RELAY_PORT_MAX", "2002"), ("ICEWAY_AUTH_REALM", "environment")]),
        flags: flags(&[("auth.realm", &["flag"]), ("listen.udp", &["127.0.0.1:1,127.0.0.2:1", ":3"])]),
    };
    let loaded = load(&sources).unwrap();

    let config = &loaded.config;
    assert_eq!(
        (config.relay.port_min, config.relay.port_max, config.auth.realm.as_str()),
        (1001, 2002, "flag")
    );
    assert_eq!(config.listen.udp.len(), 4);
    let shown = loaded.show();
    for line in [
        &format!("port_min = 1001  # {}:2", file.display()),
        "port_max = 2002  # environment ICEWAY_RELAY_PORT_MAX",
        "realm = \"flag\"  # flag --auth-realm",
        "shards = 0  # default",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} is not in\n{shown}");
    }
}

#[test]
fn what_is_shown_can_be_read_back_as_a_file() {
    let scratch = Scratch::new();
    let text = "[relay]\nexternal = [\"203.0.113.5/10.0.0.5\"]\n[bandwidth]\ntotal = \"1Gbit/s\"\n[http]\nlisten = \"off\"\n\
                [streams]\nframe_timeout = 7\nbuffer_bytes = \"1MiB\"\n[auth]\nexpiry = \"strict\"\n";
    let first = load_text(text).unwrap();
    let again = load(&Sources { file: Some(scratch.file("again.toml", first.show())), ..Sources::default() })
        .unwrap();
    assert_eq!(again.config, first.config);
    assert_eq!(again.config.http.listen, None);
}

#[test]
fn variables_that_are_misspelt_are_refused_and_those_of_kubernetes_are_not() {
    let sources = |list| Sources { environment: variables(list), ..Sources::default() };
    let error = load(&sources(&[("ICEWAY_PEERS_DENNY", "10.0.0.0/8")])).unwrap_err();
    assert!(error.to_string().contains("did you mean ICEWAY_PEERS_DENY?"), "{error}");
    let links = [
        ("ICEWAY_SERVICE_HOST", "10.0.0.1"),
        ("ICEWAY_SERVICE_PORT", "3478"),
        ("ICEWAY_SERVICE_PORT_TURN", "3478"),
        ("ICEWAY_PORT", "udp://10.0.0.1:3478"),
        ("ICEWAY_PORT_3478_UDP", "udp://10.0.0.1:3478"),
        ("ICEWAY_PORT_3478_UDP_ADDR", "10.0.0.1"),
        ("ICEWAYS_OWN", "x"),
        ("ICEWAY_AUTH_REALM", ""),
    ];
    assert_eq!(load(&sources(&links)).unwrap().config, iceway::config::Config::default());
}

#[test]
fn broken_files_are_explained() {
    let scratch = Scratch::new();
    let message =
        |path: PathBuf| load(&Sources { file: Some(path), ..Sources::default() }).unwrap_err().to_string();
    let half = message(scratch.file("half.toml", "[relay]\nport_min = 5000\nport_max = \n[auth\n"));
    assert!(half.contains("half.toml:3: is not TOML here"), "{half}");
    assert!(half.contains("half.toml:4: is not TOML here"), "{half}");
    let twice = message(scratch.file("twice.toml", "[relay]\nport_min = 5\nport_min = 6\n"));
    assert!(twice.contains("twice.toml:3: is not TOML here: duplicate key"), "{twice}");
    let binary = message(scratch.file("binary.toml", [b'[', 0xff, 0xfe, 0]));
    assert!(binary.contains("is not a text: byte 1 is not UTF-8"), "{binary}");
    let zeros = message(scratch.file("zeros.toml", [0; 4096]));
    assert!(zeros.contains("zeros.toml:1: is not TOML here"), "{zeros}");
    let huge = message(scratch.file("huge.toml", vec![b'#'; (1 << 20) + 1]));
    assert!(huge.contains("is larger than 1048576 bytes; is this the right file?"), "{huge}");
    let endless = message(PathBuf::from("/dev/zero"));
    assert!(endless.contains("is larger than 1048576 bytes"), "{endless}");
    let missing = message(scratch.0.join("missing.toml"));
    assert!(missing.contains("cannot be read: No such file or directory"), "{missing}");
    let directory = message(scratch.0.clone());
    assert!(directory.contains("cannot be read: Is a directory"), "{directory}");
    let deep =
        message(scratch.file("deep.toml", format!("a = {}{}", "[".repeat(100_000), "]".repeat(100_000))));
    assert!(deep.contains("deep.toml:1"), "{deep}");
}

#[test]
fn secrets_and_users_are_read_from_files() {
    let scratch = Scratch::new();
    let secrets = scratch
        .file("s", "# rotated monthly\n2026-11 north0123456789abcdef\n\n  south0123456789abcdef  \r\n");
    let users = scratch.file("u", "alice:won:der\nbob:0x000102030405060708090a0b0c0d0e0f\n");
    let loaded = load(&Sources {
        environment: variables(&[("ICEWAY_AUTH_SECRET", "west0123456789abcdef\n")]),
        flags: flags(&[
            ("auth.secret_file", &[secrets.to_str().unwrap()]),
            ("auth.users_file", &[users.to_str().unwrap()]),
        ]),
        ..Sources::default()
    })
    .unwrap();

    let ids: Vec<&str> = loaded.config.auth.secrets.iter().map(|secret| secret.id.as_str()).collect();
    assert_eq!(ids, ["default", "2026-11", "secret-3"]);
    assert_eq!(loaded.config.auth.secrets[0].bytes.expose(), b"west0123456789abcdef");
    assert_eq!(loaded.config.auth.secrets[2].bytes.expose(), b"south0123456789abcdef");
    let names: Vec<&str> = loaded.config.auth.users.iter().map(|user| user.name.as_str()).collect();
    assert_eq!(names, ["alice", "bob"]);
    assert!(loaded.warnings.iter().any(|warning| warning.message.contains("can be read by every user")));
    assert!(loaded.config.directory().unwrap().candidates("alice", 0).iter().next().is_some());
}

#[test]
fn faults_in_files_of_secrets_and_users_name_the_line_and_not_the_secret() {
    let scratch = Scratch::new();
    let secrets =
        scratch.file("s", "one hush0123456789abcdef\none hush0123456789abcdef\na b hush\n!! hush\n");
    let users =
        scratch.file("u", "alice\nalice:hush\nalice:hush\n:hush\nbob:\ncarol:0xhush\ndave:hu\u{200B}sh\n");
    let error = load(&Sources {
        flags: flags(&[
            ("auth.secret_file", &[secrets.to_str().unwrap()]),
            ("auth.users_file", &[users.to_str().unwrap()]),
        ]),
        ..Sources::default()
    })
    .unwrap_err()
    .to_string();
    for expected in [
        "s:2: the key id \"one\" is used twice",
        "s:3: has more than two words",
        "s:4: the first word is no key id",
        "u:1: has no colon; write name:password",
        "u:3: names the user of line 2 again",
        "u:4: has a name of 0 bytes",
        "u:5: has an empty password",
        "u:6: has a password that starts with 0x",
        "u:7: has a password no client could send: the character U+200B",
    ] {
        assert!(error.contains(expected), "{error}\n  lacks\n{expected}");
    }
    assert!(!error.contains("hush"), "{error}");
    let empty = scratch.file("e", "# nothing\n");
    let sources =
        Sources { flags: flags(&[("auth.secret_file", &[empty.to_str().unwrap()])]), ..Sources::default() };
    assert!(load(&sources).unwrap_err().to_string().contains("holds no secret"));
}

#[test]
fn a_realm_that_clients_would_not_repeat_is_refused() {
    for (realm, expected) in [("a\u{A0}b", "write a plain one"), ("a\u{200B}b", "U+200B")] {
        let error = load_text(&format!("[auth]\nrealm = \"{realm}\"\n")).unwrap_err().join("\n");
        assert!(error.contains("auth.realm") && error.contains(expected), "{error}");
    }
    assert_eq!(load_text("[auth]\nrealm = \"Zoë's\"\n").unwrap().config.auth.realm, "Zoë's");
}

#[test]
fn a_certificate_brings_the_tls_port_unless_one_is_named() {
    let tls = "[tls]\ncertificate = \"/dev/null\"\nprivate_key = \"/dev/null\"\n";
    assert_eq!(
        load_text(tls).unwrap().config.listen.tls,
        ["0.0.0.0:5349".parse().unwrap(), "[::]:5349".parse().unwrap()]
    );
    assert_eq!(load_text(&format!("{tls}[listen]\ntls = []\n")).unwrap().config.listen.tls, []);
}
