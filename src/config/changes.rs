//! What reading a configuration again changes, and what of it only a restart does.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    path::PathBuf,
    sync::OnceLock,
};

use super::{
    keys,
    load::Loaded,
    read::read_text,
    types::{Config, Runtime},
};

/// What stands for a value that must not be shown, and for the content of a file.
const CHANGED: &str = "(changed)";
/// No file that a configuration names is larger: users are the most.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// A key that names a file, and where its path is.
type FileKey = (&'static str, fn(&Config) -> Option<&PathBuf>);

/// The files whose content is part of the configuration.
const FILES: [FileKey; 19] = [
    ("tls.certificate", |config| config.tls.certificate.as_ref()),
    ("tls.private_key", |config| config.tls.private_key.as_ref()),
    ("auth.secret_file", |config| config.auth.secret_file.as_ref()),
    ("auth.users_file", |config| config.auth.users_file.as_ref()),
    ("http.client_ca_file", |config| config.http.client_ca_file.as_ref()),
    ("api.keys_file", |config| config.api.keys_file.as_ref()),
    ("jwt.jwks_ca_file", |config| config.jwt.jwks_ca_file.as_ref()),
    ("jwt.keys_file", |config| config.jwt.keys_file.as_ref()),
    ("jwt.hs256_secret_file", |config| config.jwt.hs256_secret_file.as_ref()),
    ("signal.authorize_secret_file", |config| config.signal.authorize.secret_file.as_ref()),
    ("signal.authorize_ca_file", |config| config.signal.authorize.ca_file.as_ref()),
    ("redis.password_file", |config| config.redis.password_file.as_ref()),
    ("redis.sentinel_password_file", |config| config.redis.sentinel_password_file.as_ref()),
    ("redis.cluster_key_file", |config| config.redis.cluster_key_file.as_ref()),
    ("redis.ca_file", |config| config.redis.ca_file.as_ref()),
    ("redis.certificate", |config| config.redis.certificate.as_ref()),
    ("redis.private_key", |config| config.redis.private_key.as_ref()),
    ("webhooks.secret_file", |config| config.webhooks.secret_file.as_ref()),
    ("webhooks.ca_file", |config| config.webhooks.ca_file.as_ref()),
];

/// A key whose value, or the content of whose file, is another than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChange {
    /// `section.name`.
    pub key: &'static str,
    /// The value before, as TOML writes it; `None` if there was none, or if it is not shown.
    pub from: Option<String>,
    /// The value now; `(changed)` stands for one that is not shown.
    pub to: Option<String>,
    /// Whether it takes effect only after a restart.
    pub needs_restart: bool,
}

/// What cannot be compared by what is shown of it: secrets and files, each as a number that means nothing elsewhere.
pub(super) type Contents = HashMap<&'static str, u64>;

/// Reads what [`Loaded::changes`] compares.
pub(super) fn contents(config: &Config) -> Contents {
    static STATE: OnceLock<RandomState> = OnceLock::new();
    let state = STATE.get_or_init(RandomState::new);
    let mut contents = Contents::new();
    for (key, path) in FILES {
        // What cannot be read has been judged by whoever needs it.
        if let Some(path) = path(config)
            && let Ok(text) = read_text(path, FILE_BYTES_MAX)
        {
            contents.insert(key, state.hash_one(text.as_bytes()));
        }
    }
    if let Some(secret) = &config.auth.secret {
        contents.insert("auth.secret", state.hash_one(secret.expose()));
    }
    if let Some(url) = &config.redis.url {
        let password = url.password.as_ref().map(|password| password.expose());
        contents.insert("redis.url", state.hash_one((format!("{url:?}"), password)));
    }
    contents
}

impl Loaded {
    /// What differs in `fresh`, by key.
    #[must_use]
    pub fn changes(&self, fresh: &Self) -> Vec<KeyChange> {
        let mut changes = Vec::new();
        for key in keys::all() {
            let (from, to) = (key.show(&self.config), key.show(&fresh.config));
            let shown = [&from, &to].map(|text| text.as_deref().map(|text| without_queries(key.path, text)));
            if !key.secret && shown[0] != shown[1] {
                let [from, to] = shown;
                changes.push(KeyChange { key: key.path, from, to, needs_restart: !key.reloads });
            } else if from != to || self.contents.get(key.path) != fresh.contents.get(key.path) {
                let needs_restart = !(key.reloads || is_read_again(key.path));
                changes.push(KeyChange {
                    key: key.path,
                    from: None,
                    to: Some(CHANGED.to_owned()),
                    needs_restart,
                });
            }
        }
        changes
    }

    /// Has `fresh` say of everything that only a restart changes what this one says.
    pub fn keep_fixed(&self, fresh: &mut Self) {
        fresh.config.keep_fixed(&self.config);
        for key in keys::all().filter(|key| !key.reloads && !is_read_again(key.path)) {
            match self.contents.get(key.path) {
                Some(content) => fresh.contents.insert(key.path, *content),
                None => fresh.contents.remove(key.path),
            };
        }
    }
}

/// A value as it may be shown: where requests are sent to, some put a token into the query.
fn without_queries(key: &str, text: &str) -> String {
    match text.split_once('?') {
        Some((url, _)) if key.ends_with("url") => format!("{url}?…\""),
        _ => text.to_owned(),
    }
}

/// Whether the content of a file is read again although its name is fixed.
fn is_read_again(key: &str) -> bool {
    ["tls.certificate", "tls.private_key"].contains(&key)
}

impl Config {
    /// Takes over from `running` what was bound, opened or connected with it.
    fn keep_fixed(&mut self, running: &Self) {
        let Self { listen, relay, tls, streams, redis, node, store, usage, calls, .. } = running.clone();
        (self.listen, self.relay, self.tls, self.streams) = (listen, relay, tls, streams);
        (self.redis, self.node, self.store, self.usage, self.calls) = (redis, node, store, usage, calls);
        let (drain_timeout, drain_redirect) = (self.runtime.drain_timeout, self.runtime.drain_redirect);
        self.runtime = Runtime { drain_timeout, drain_redirect, ..running.runtime.clone() };
        self.http.listen = running.http.listen;
        self.http.control_socket = running.http.control_socket.clone();
        self.http.threads = running.http.threads;
        self.http.connections_max = running.http.connections_max;
        self.signal.enabled = running.signal.enabled;
        self.webhooks.pending_max = running.webhooks.pending_max;
        self.webhooks.dead_max = running.webhooks.dead_max;
        self.log.format = running.log.format;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{
        Sources,
        field::{Raw, Shape},
        load,
    };

    /// One of these is a value for every key, and another than its default.
    const VALUES: [&str; 18] = [
        "/elsewhere",
        "elsewhere",
        "7",
        "70000",
        "1000000",
        "true",
        "false",
        "10.9.8.7:1234",
        "10.9.8.7",
        "json",
        "never",
        "turn:elsewhere.example",
        "redis://elsewhere",
        "10.9.8.0/24",
        "debug",
        "dns:elsewhere=read",
        "https://elsewhere.example",
        "60s",
    ];

    /// A configuration in which every key differs from the defaults where that is possible.
    fn different() -> Config {
        let mut config = Config::default();
        for key in keys::all() {
            let before = key.show(&config);
            for value in VALUES {
                let text = Raw::Text(value.to_owned());
                let raw = if key.shape() == Shape::Many { Raw::List(vec![text]) } else { text };
                let mut tried = config.clone();
                if (key.field)(&mut tried).read(&raw, &key.rule).is_ok() && key.show(&tried) != before {
                    config = tried;
                    break;
                }
            }
        }
        config
    }

    #[test]
    fn what_needs_a_restart_is_kept_and_all_else_is_taken_over() {
        let (running, different) = (Config::default(), different());
        let mut fresh = different.clone();
        fresh.keep_fixed(&running);
        let mut seen = 0;
        for key in keys::all() {
            let wanted = if key.reloads { &different } else { &running };
            assert_eq!(key.show(&fresh), key.show(wanted), "{}", key.path);
            seen += usize::from(key.show(&different) != key.show(&running));
        }
        assert!(seen > 100, "only {seen} keys were changed");
    }

    #[test]
    fn every_file_of_the_configuration_is_looked_at() {
        for key in keys::all().filter(|key| key.path.ends_with("_file") || key.path.ends_with(".certificate"))
        {
            assert!(FILES.iter().any(|(path, _)| *path == key.path), "{}", key.path);
        }
        for (path, _) in FILES {
            assert!(keys::find(path).is_some(), "{path}");
        }
    }

    #[test]
    fn what_is_asked_of_a_url_is_not_shown() {
        let with = |url: &str| {
            let environment = vec![("ICEWAY_AUTH_SECRET".into(), "a-secret-of-the-first-kind".into())];
            let mut loaded = load(&Sources { environment, ..Sources::default() }).unwrap();
            loaded.config.webhooks.url = Some(url.to_owned());
            loaded
        };
        let before = with("https://a.example/hook?token=first");
        let shown = |after: &str| {
            let changes = before.changes(&with(after));
            assert_eq!(changes.len(), 1);
            (changes[0].from.clone().unwrap_or_default(), changes[0].to.clone().unwrap_or_default())
        };
        let moved = shown("https://b.example/hook?token=second");
        assert_eq!(moved.0, "\"https://a.example/hook?…\"");
        assert_eq!(moved.1, "\"https://b.example/hook?…\"");
        assert_eq!(shown("https://a.example/hook?token=second").1, CHANGED);
    }

    #[test]
    fn changes_are_named_and_secrets_are_not_shown() {
        let of = |flags: &[(&str, &str)], secret: &str| {
            let flags = flags.iter().map(|(path, value)| ((*path).to_owned(), vec![(*value).to_owned()]));
            let environment = vec![("ICEWAY_AUTH_SECRET".into(), secret.into())];
            load(&Sources { flags: flags.collect(), environment, ..Sources::default() }).unwrap()
        };
        let before = of(&[], "a-secret-of-the-first-kind");
        let after = of(&[("log.level", "debug"), ("relay.port_max", "60000")], "a-secret-of-another-kind");
        let shown: Vec<String> = before
            .changes(&after)
            .into_iter()
            .map(|change| {
                format!("{} {:?} {:?} {}", change.key, change.from, change.to, change.needs_restart)
            })
            .collect();
        assert_eq!(
            shown,
            [
                "relay.port_max Some(\"65535\") Some(\"60000\") true",
                "auth.secret None Some(\"(changed)\") false",
                "log.level Some(\"\\\"info\\\"\") Some(\"\\\"debug\\\"\") false",
            ]
        );
        assert!(after.changes(&after).is_empty());
    }
}
