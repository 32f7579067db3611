//! Traps in the configuration: what works, and is abused one day.

use std::{
    collections::HashSet,
    fs,
    net::{IpAddr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use ipnet::IpNet;

use super::finding::{Check, Finding};
use crate::{
    api::ice_servers::remoteness,
    config::{Config, Loaded, RequireHttps, StaticUserSecret},
    credentials::Expiry,
};

/// 128 bits need at least as many.
const SECRET_BYTES_GOOD: usize = 16;
const PASSWORD_CHARS_MIN: usize = 8;
/// Random text of any length that is allowed has more.
const DIFFERENT_MIN: usize = 6;
/// Networks that are larger hold more than one owner's machines.
const PREFIX_V4_MIN: u8 = 8;
const PREFIX_V6_MIN: u8 = 16;
/// Where clouds hand out the credentials of a machine to whoever asks.
const METADATA: [&str; 3] = ["169.254.169.254", "100.100.100.200", "fd00:ec2::254"];
/// Examples of manuals, and what is typed first.
const WELL_KNOWN: [&str; 24] = [
    "north",
    "secret",
    "password",
    "passwort",
    "changeme",
    "change-me",
    "change_me",
    "mysecret",
    "my-secret",
    "turn",
    "coturn",
    "turnserver",
    "iceway",
    "test",
    "testtest",
    "admin",
    "root",
    "default",
    "static-auth-secret",
    "yoursecret",
    "your-secret",
    "your-secret-key",
    "0123456789abcdef",
    "examplesecret",
];
/// `auth.realm` when nobody chose one.
const REALM_DEFAULT: &str = "iceway";

/// Looks for all of them. `public` says whether clients come from the internet.
pub(super) fn check(loaded: &Loaded, public: bool) -> Vec<Finding> {
    let config = &loaded.config;
    let mut findings = Vec::new();
    peers(config, &mut findings);
    secrets(config, &mut findings);
    users(config, &mut findings);
    files(config, loaded.file.as_deref(), &mut findings);
    http(config, &mut findings);
    if config.auth.realm == REALM_DEFAULT {
        findings
            .push(Check::Realm.hint("auth.realm is the built-in one").mend("set auth.realm to your domain"));
    }
    limits(config, &mut findings);
    ways(config, public, &mut findings);
    if public && !loaded.has_credentials() && config.store.path.is_none() && config.redis.url.is_none() {
        let trial = Check::Trial
            .warning("nothing is configured: the secret ends with the process, on a public address");
        findings.push(trial.mend("set auth.secret_file, such as from `openssl rand -base64 32`"));
    }
    findings
}

fn peers(config: &Config, findings: &mut Vec<Finding>) {
    let allowed = &config.peers.allow;
    let before = findings.len();
    for network in allowed {
        let minimum = if network.addr().is_ipv4() { PREFIX_V4_MIN } else { PREFIX_V6_MIN };
        let metadata: Vec<&str> = METADATA
            .into_iter()
            .filter(|ip| ip.parse::<IpAddr>().is_ok_and(|ip| network.contains(&ip)))
            .collect();
        if network.prefix_len() < minimum {
            let fact = format!(
                "peers.allow has {network}, which opens this machine and its network to every client"
            );
            findings.push(
                Check::Peers.failure(fact).mend("name the networks that are needed, such as 10.1.2.0/24"),
            );
        } else if !metadata.is_empty() {
            let fact = format!(
                "peers.allow has {network}, where clouds hand out their credentials ({})",
                metadata.join(", ")
            );
            findings.push(Check::Peers.failure(fact).mend("allow less"));
        }
    }
    if findings.len() == before {
        let fact = match allowed.as_slice() {
            [] => "private and special-purpose addresses are denied".to_owned(),
            some => format!(
                "beside public addresses: {}",
                some.iter().map(IpNet::to_string).collect::<Vec<_>>().join(", ")
            ),
        };
        findings.push(Check::Peers.ok(fact));
    }
}

fn secrets(config: &Config, findings: &mut Vec<Finding>) {
    let advice = "use a random one, such as from `openssl rand -base64 32`, and rotate";
    let mut weak = false;
    for secret in &config.auth.secrets {
        let text = secret.bytes.expose();
        let why = if is_well_known(text) {
            "is one of those tried first"
        } else if text.len() < SECRET_BYTES_GOOD {
            "is shorter than 16 bytes"
        } else if different(text) < DIFFERENT_MIN {
            "repeats few characters"
        } else {
            continue;
        };
        weak = true;
        findings.push(Check::Secret.failure(format!("the secret {:?} {why}", secret.id)).mend(advice));
    }
    if !weak && !config.auth.secrets.is_empty() {
        findings.push(Check::Secret.ok(count(
            config.auth.secrets.len(),
            "secret, not to be guessed",
            "secrets, not to be guessed",
        )));
    }
}

fn users(config: &Config, findings: &mut Vec<Finding>) {
    let users = &config.auth.users;
    let is_weak = |name: &str, password: &[u8]| {
        password.len() < PASSWORD_CHARS_MIN
            || is_well_known(password)
            || password.eq_ignore_ascii_case(name.as_bytes())
            || different(password) < DIFFERENT_MIN - 2
    };
    let weak: Vec<&str> = users
        .iter()
        .filter(|user| match &user.secret {
            StaticUserSecret::Password(password) => is_weak(&user.name, password.expose()),
            StaticUserSecret::Md5(_) => false,
        })
        .map(|user| user.name.as_str())
        .collect();
    if let Some(first) = weak.first() {
        let others = if weak.len() > 1 { format!(" and {} more", weak.len() - 1) } else { String::new() };
        let fact = format!("the password of user {first:?}{others} is short or tried first");
        findings.push(
            Check::Users.warning(fact).mend("longer ones, or time-limited credentials (auth.secret_file)"),
        );
    } else if !users.is_empty() {
        findings.push(Check::Users.ok(count(users.len(), "static user", "static users")));
    }
}

fn files(config: &Config, file: Option<&Path>, findings: &mut Vec<Finding>) {
    let auth = &config.auth;
    let own_secret =
        auth.secret.is_some() || config.redis.password.is_some() && config.redis.password_file.is_none();
    let files: Vec<&Path> = [
        auth.secret_file.as_deref(),
        auth.users_file.as_deref(),
        config.tls.private_key.as_deref(),
        config.redis.password_file.as_deref(),
        config.redis.sentinel_password_file.as_deref(),
        config.redis.cluster_key_file.as_deref(),
        config.redis.private_key.as_deref(),
        config.jwt.hs256_secret_file.as_deref(),
        config.signal.authorize.secret_file.as_deref(),
        config.store.path.as_deref(),
        file.filter(|_| own_secret),
    ]
    .into_iter()
    .flatten()
    .collect();
    let is_open = |path: &&&Path| fs::metadata(path).is_ok_and(|it| it.permissions().mode() & 0o004 != 0);
    let open: Vec<&&Path> = files.iter().filter(is_open).collect();
    for path in &open {
        let fact = "holds a secret and can be read by every user of this machine";
        findings.push(
            Check::Files
                .warning(fact)
                .of(path.display().to_string())
                .mend("chmod o= it; 640 is enough for the server's group"),
        );
    }
    if open.is_empty() && !files.is_empty() {
        findings.push(Check::Files.ok(count(
            files.len(),
            "file with secrets, not readable for others",
            "files with secrets, not readable for others",
        )));
    }
}

fn http(config: &Config, findings: &mut Vec<Finding>) {
    let http = &config.http;
    let has_certificate = config.tls.certificate.is_some();
    if let Some(listen) = http.listen {
        findings.push(clear_text(
            listen,
            has_certificate,
            http.require_https,
            !http.trusted_proxies.is_empty(),
        ));
    }
    if config.api.allow_query_key {
        let fact = "api.allow_query_key is on: proxies and their logs see API keys";
        findings.push(
            Check::Query
                .warning(fact)
                .mend("only for clients that cannot send a header (Janus), with a key of scope issue alone"),
        );
    }
    if let Some(origin) = http.cors_origins.iter().find(|origin| is_any(&origin.0)) {
        let fact = format!(
            "http.cors_origins has {:?}: pages of every site may use their visitors' tokens",
            origin.0
        );
        findings.push(Check::Cors.warning(fact).mend("name the origins of your pages"));
    }
}

fn clear_text(listen: SocketAddr, has_certificate: bool, https: RequireHttps, has_proxies: bool) -> Finding {
    let check = Check::Http;
    let ip = listen.ip();
    if ip.is_loopback() {
        return check.ok(format!("the API is for this machine alone, on {listen}"));
    }
    let is_public = ip.is_unspecified() || remoteness(ip) == 0;
    match (has_certificate, https) {
        (true, RequireHttps::Auto | RequireHttps::Always) => {
            check.ok(format!("the API speaks HTTPS alone, on {listen}"))
        }
        (true, RequireHttps::Never) => check
            .warning(format!(
                "http.require_https is off: keys and credentials may come in clear text to {listen}"
            ))
            .mend("http.require_https = \"auto\""),
        (false, _) if has_proxies || !is_public => {
            check.ok(format!("the API is behind a proxy or in a private network, on {listen}"))
        }
        (false, _) => check
            .warning(format!(
                "the API is offered in clear text on {listen}: who listens gets keys and credentials"
            ))
            .mend("set tls.certificate, or http.listen = \"127.0.0.1:9641\" behind a proxy that has one"),
    }
}

fn limits(config: &Config, findings: &mut Vec<Finding>) {
    let limits = &config.limits;
    if limits.allocations_per_user.is_none()
        && limits.allocations_per_address.is_none()
        && config.quota_classes.is_empty()
    {
        let fact = "one user may take every relay port";
        findings.push(
            Check::Quota
                .hint(fact)
                .mend("limits.allocations_per_user = 20, or quota classes for credentials"),
        );
    }
    if config.auth.expiry == Expiry::Allocate {
        let fact = "a call that is up may outlive its credential, as with coturn";
        findings.push(
            Check::Expiry.hint(fact).mend("auth.expiry = \"refresh\" or \"strict\" where that matters"),
        );
    }
}

fn ways(config: &Config, public: bool, findings: &mut Vec<Finding>) {
    let has_tls = config.tls.certificate.is_some();
    let listeners = config.listen.tls.iter().chain(&config.listen.tcp);
    if !has_tls {
        if public {
            let fact = "there is no way over TLS; some networks let nothing else out";
            findings.push(Check::TlsListener.warning(fact).mend("set tls.certificate and tls.private_key"));
        }
        return;
    }
    let is_443 = |uri: &crate::config::ServerUri| uri.0.starts_with("turns:") && uri.0.contains(":443");
    if !listeners.map(SocketAddr::port).any(|port| port == 443) && !config.node.uris.iter().any(is_443) {
        let fact = "TLS is not on port 443, the one that nearly every firewall lets out";
        findings.push(
            Check::Port443.hint(fact).mend("listen.tls = [\"0.0.0.0:443\", \"[::]:443\"] where it is free"),
        );
    }
}

fn is_any(origin: &str) -> bool {
    origin == "*" || origin == "null"
}

fn is_well_known(text: &[u8]) -> bool {
    let lower = text.to_ascii_lowercase();
    WELL_KNOWN.iter().any(|known| known.as_bytes() == lower)
}

fn different(text: &[u8]) -> usize {
    text.iter().collect::<HashSet<_>>().len()
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::doctor::finding::Level,
        config::{SecretBytes, SharedSecret, StaticUser, WebOrigin},
    };

    fn config() -> Config {
        let mut config = Config::default();
        let secret =
            SharedSecret { id: "default".to_owned(), bytes: SecretBytes::new(b"Zk3v0+QxW9rT1mB7cY5dHq") };
        config.auth.secrets = vec![secret];
        config.auth.realm = "example.org".to_owned();
        config.limits.allocations_per_user = Some(10);
        config.auth.expiry = Expiry::Strict;
        config
    }

    fn worse_than_ok(config: Config, public: bool) -> Vec<(&'static str, Level)> {
        let loaded = Loaded::of(config);
        let found = check(&loaded, public).into_iter().filter(|it| it.level != Level::Ok);
        found.map(|it| (it.check.id(), it.level)).collect()
    }

    #[test]
    fn a_careful_configuration_has_nothing_to_mend() {
        assert_eq!(worse_than_ok(config(), false), []);
    }

    #[test]
    fn each_trap_is_found_alone() {
        type Trap = (fn(&mut Config), &'static str, Level);
        let traps: [Trap; 11] = [
            (|it| it.peers.allow = vec!["0.0.0.0/0".parse().unwrap()], "policy.peers", Level::Failure),
            (|it| it.peers.allow = vec!["169.254.0.0/16".parse().unwrap()], "policy.peers", Level::Failure),
            (|it| it.auth.secrets[0].bytes = SecretBytes::new(b"north"), "policy.secret", Level::Failure),
            (|it| it.auth.secrets[0].bytes = SecretBytes::new(&[b'x'; 32]), "policy.secret", Level::Failure),
            (
                |it| {
                    let secret = StaticUserSecret::Password(SecretBytes::new(b"alice"));
                    it.auth.users = vec![StaticUser { name: "alice".to_owned(), secret }];
                },
                "policy.users",
                Level::Warning,
            ),
            (|it| it.http.listen = Some("0.0.0.0:9641".parse().unwrap()), "policy.http", Level::Warning),
            (|it| it.api.allow_query_key = true, "policy.query_key", Level::Warning),
            (|it| it.http.cors_origins = vec![WebOrigin("*".to_owned())], "policy.cors", Level::Warning),
            (|it| it.auth.realm = "iceway".to_owned(), "policy.realm", Level::Hint),
            (|it| it.limits.allocations_per_user = None, "policy.quota", Level::Hint),
            (|it| it.auth.expiry = Expiry::Allocate, "policy.expiry", Level::Hint),
        ];
        for (spoil, id, level) in traps {
            let mut config = config();
            spoil(&mut config);
            assert_eq!(worse_than_ok(config, false), [(id, level)]);
        }
        assert_eq!(worse_than_ok(config(), true), [("policy.tls", Level::Warning)]);
        let mut bare = config();
        bare.auth.secrets.clear();
        let found = worse_than_ok(bare, true);
        assert!(found.contains(&("policy.trial", Level::Warning)), "{found:?}");
    }
}
