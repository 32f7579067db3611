//! The files that belong to `redis`: passwords and the keys of the cluster.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use super::{
    Redis, RedisLayout,
    problem::{Origin, Problem},
    secrets::{Findings, lines, open},
    types::SecretBytes,
};

/// Shorter keys can be found by trying.
const KEY_BYTES_MIN: usize = 32;
/// One that seals and one that still opens.
const KEYS_MAX: usize = 2;

/// Fills the passwords and cluster keys of `redis` from the files that are named, and says what does not fit together.
pub(crate) fn read(redis: &mut Redis, origin: &dyn Fn(&'static str) -> Origin) -> Findings {
    let mut findings = Findings::default();
    redis.password = password(redis.password_file.as_deref(), "redis.password_file", origin, &mut findings);
    redis.sentinel_password = password(
        redis.sentinel_password_file.as_deref(),
        "redis.sentinel_password_file",
        origin,
        &mut findings,
    );
    if let Some(path) = &redis.cluster_key_file {
        const KEY: &str = "redis.cluster_key_file";
        if let Some(text) = open(path, KEY, &origin(KEY), &mut findings) {
            redis.cluster_keys = keys(path, &text, &mut findings);
        }
    }
    if redis.certificate.is_some() != redis.private_key.is_some() {
        let (is, lacks) = match redis.certificate {
            Some(_) => ("redis.certificate", "redis.private_key"),
            None => ("redis.private_key", "redis.certificate"),
        };
        findings.errors.push(fault(is, origin, format!("is set without {lacks}; set both or neither")));
    }
    let Some(url) = &redis.url else {
        if redis.coturn_users {
            let message = "needs redis.url; set it, or remove this".to_owned();
            findings.errors.push(fault("redis.coturn_users", origin, message));
        }
        return findings;
    };
    if redis.cluster_key_file.is_none() {
        let message = "needs redis.cluster_key_file, the key everything in Redis is sealed with; write one with \
                       `openssl rand -base64 32` and give it to every node";
        findings.errors.push(fault("redis.url", origin, message.to_owned()));
    }
    if redis.password.is_some() && url.password.is_some() {
        let message = "is set, but redis.url holds a password too; remove one of them".to_owned();
        findings.errors.push(fault("redis.password_file", origin, message));
    }
    if !url.is_encrypted {
        for (key, file) in [("redis.ca_file", &redis.ca_file), ("redis.certificate", &redis.certificate)] {
            if file.is_some() {
                let message = "needs TLS; write rediss:// in redis.url, or remove this".to_owned();
                findings.errors.push(fault(key, origin, message));
            }
        }
    }
    if redis.sentinel_password.is_some() && !matches!(url.layout, RedisLayout::Sentinel { .. }) {
        let message = "is for redis+sentinel:// alone; remove it".to_owned();
        findings.errors.push(fault("redis.sentinel_password_file", origin, message));
    }
    findings
}

fn fault(key: &'static str, origin: &dyn Fn(&'static str) -> Origin, message: String) -> Problem {
    Problem { key: key.to_owned(), value: None, origin: origin(key), message }
}

fn password(
    path: Option<&Path>,
    key: &'static str,
    origin: &dyn Fn(&'static str) -> Origin,
    findings: &mut Findings,
) -> Option<SecretBytes> {
    let path = path?;
    let text = open(path, key, &origin(key), findings)?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        let message = "has an empty first line; write the password there".to_owned();
        findings.errors.push(Problem::of_file(Origin::File(path.to_owned(), Some(1)), message));
        return None;
    }
    Some(SecretBytes::new(line.as_bytes()))
}

fn keys(path: &Path, text: &str, findings: &mut Findings) -> Vec<SecretBytes> {
    let mut keys = Vec::new();
    for (number, line) in lines(text) {
        let mut fault = |message: String| {
            findings.errors.push(Problem::of_file(Origin::File(path.to_owned(), Some(number)), message));
        };
        match STANDARD.decode(line).map(Zeroizing::new) {
            Ok(bytes) if bytes.len() >= KEY_BYTES_MIN => keys.push(SecretBytes::new(&bytes)),
            Ok(bytes) => fault(format!(
                "holds a key of {} bytes; write one of {KEY_BYTES_MIN}, such as from `openssl rand -base64 32`",
                bytes.len()
            )),
            Err(_) => fault("is not base64; write a key such as from `openssl rand -base64 32`".to_owned()),
        }
    }
    let message = match keys.len() {
        0 if findings.errors.is_empty() => {
            "holds no key; write one with `openssl rand -base64 32`".to_owned()
        }
        0..=KEYS_MAX => return keys,
        count => {
            format!("holds {count} keys; {KEYS_MAX} are enough: one that seals and one that still opens")
        }
    };
    findings.errors.push(Problem::of_file(Origin::File(path.to_owned(), None), message));
    keys
}
