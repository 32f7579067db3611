//! Documents made from the table of keys.

use super::{
    field::{Rule, Unit},
    keys::{self, Key},
};

const WIDTH: usize = 100;

/// `config/iceway.toml`: every key with its default and why it is so.
#[must_use]
pub fn example_file() -> String {
    let mut text = String::from(
        "# Every key with its default. A file needs only what differs; an empty one is valid.\n\
         # Flags and the environment win over the file: `relay.port_min` is --relay-port-min and ICEWAY_RELAY_PORT_MIN.\n\
         # `iceway check --config FILE` checks a file, `--show` prints each value and where it came from.\n\
         # Durations: 30 (seconds), \"30s\", \"10m\", \"1h30m\". Sizes: bytes, \"64KiB\", \"4MiB\", \"10MB\".\n\
         # On SIGHUP the file is read again; keys marked (restart) wait for a restart.\n",
    );
    for &(section, about) in keys::SECTIONS {
        text.push('\n');
        comment(&mut text, about);
        text.push_str(&format!("[{section}]\n"));
        for key in keys::all().filter(|key| key.section() == section) {
            text.push('\n');
            comment(&mut text, &heading(key));
            comment(&mut text, key.about);
            match key.default_text() {
                Some(value) if !["listen.tls", "jwt.audience"].contains(&key.path) => {
                    text.push_str(&format!("{} = {value}\n", key.name()))
                }
                Some(_) | None => text.push_str(&format!("# {} = {}\n", key.name(), sample(key))),
            }
        }
    }
    text
}

/// What a key that is not set could be set to.
fn sample(key: &Key) -> &'static str {
    match key.path {
        "listen.tls" => "[\":5349\"]",
        "tls.certificate" => "\"/etc/iceway/certificate.pem\"",
        "tls.private_key" => "\"/etc/iceway/private-key.pem\"",
        "auth.secret" => "\"…\"",
        "auth.secret_file" => "\"/etc/iceway/secrets\"",
        "auth.users_file" => "\"/etc/iceway/users\"",
        "http.client_ca_file" => "\"/etc/iceway/client-authorities.pem\"",
        "api.keys_file" => "\"/etc/iceway/api-keys\"",
        "jwt.issuer" => "\"https://auth.example.org/realms/messenger\"",
        "jwt.audience" => "[\"turn\"]",
        "jwt.jwks_url" => "\"https://auth.example.org/realms/messenger/protocol/openid-connect/certs\"",
        "jwt.jwks_ca_file" => "\"/etc/iceway/issuer-authorities.pem\"",
        "jwt.keys_file" => "\"/etc/iceway/issuer-keys.json\"",
        "jwt.hs256_secret_file" => "\"/etc/iceway/issuer-secret\"",
        "redis.url" => {
            "\"rediss+sentinel://sentinel-1.example.org:26379,sentinel-2.example.org:26379/mymaster\""
        }
        "redis.password_file" => "\"/etc/iceway/redis-password\"",
        "redis.sentinel_password_file" => "\"/etc/iceway/sentinel-password\"",
        "redis.cluster_key_file" => "\"/etc/iceway/cluster-key\"",
        "redis.ca_file" => "\"/etc/iceway/redis-ca.pem\"",
        "redis.certificate" => "\"/etc/iceway/redis-client.pem\"",
        "redis.private_key" => "\"/etc/iceway/redis-client-key.pem\"",
        "signal.authorize_url" => "\"https://backend.example.org/rtc/authz\"",
        "signal.authorize_secret_file" => "\"/etc/iceway/webhook-secret\"",
        "signal.authorize_ca_file" => "\"/etc/iceway/backend-authorities.pem\"",
        "webhooks.url" => "\"https://backend.example.org/rtc/events\"",
        "webhooks.secret_file" => "\"/etc/iceway/webhook-secret\"",
        "webhooks.ca_file" => "\"/etc/iceway/backend-authorities.pem\"",
        "log.filter" => "\"info,iceway::turn=debug\"",
        _ => "\"iceway\"",
    }
}

fn heading(key: &Key) -> String {
    let mut heading = key.brief.to_owned();
    if let Some(range) = range(&key.rule) {
        heading.push_str(&format!(" ({range})"));
    }
    if !key.reloads {
        heading.push_str(" (restart)");
    }
    heading.push('.');
    heading
}

/// The bounds, where there are any worth stating.
fn range(rule: &Rule) -> Option<String> {
    match (rule.unit, rule.min, rule.max) {
        (Unit::None, 0, u64::MAX) => None,
        (Unit::None, ..) => Some(format!("{} characters", rule.range())),
        (_, 0, u64::MAX) => None,
        (Unit::Count | Unit::Duration | Unit::Bytes | Unit::BytesPerSecond, ..) => Some(rule.range()),
    }
}

fn comment(text: &mut String, paragraph: &str) {
    for line in wrap(paragraph, WIDTH - 2).lines() {
        text.push_str(&format!("# {line}\n"));
    }
}

/// Breaks a paragraph into lines of at most `width` bytes, as far as its words allow.
pub(crate) fn wrap(paragraph: &str, width: usize) -> String {
    let mut text = String::new();
    let mut column = 0;
    for word in paragraph.split_whitespace() {
        if column > 0 && column + 1 + word.len() > width {
            text.push('\n');
            column = 0;
        } else if column > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += word.len();
    }
    text
}

/// Every key as a table in Markdown, for the reference.
#[must_use]
pub fn reference_table() -> String {
    let mut text = String::from(
        "| key | flag | environment | default | unit, range | reload | effect |\n|---|---|---|---|---|---|---|\n",
    );
    for key in keys::all() {
        let flag = key.flag().map_or_else(|| "none: secret".to_owned(), |flag| format!("`--{flag}`"));
        let default = match key.path {
            "listen.tls" => "`[\":5349\"]` with a certificate, else `[]`".to_owned(),
            _ => key.default_text().map_or_else(|| "not set".to_owned(), |value| format!("`{value}`")),
        };
        text.push_str(&format!(
            "| `{}` | {flag} | `{}` | {default} | {} | {} | {}. {} |\n",
            key.path,
            key.environment(),
            unit_and_range(key).replace('|', "\\|"),
            if key.reloads { "SIGHUP" } else { "restart" },
            key.brief,
            key.about.replace('|', "\\|"),
        ));
    }
    text
}

fn unit_and_range(key: &Key) -> String {
    let unit = match key.rule.unit {
        Unit::None => key.placeholder().to_owned(),
        Unit::Count => "count".to_owned(),
        Unit::Duration => "duration".to_owned(),
        Unit::Bytes => "bytes".to_owned(),
        Unit::BytesPerSecond => "bytes per second".to_owned(),
    };
    range(&key.rule).map_or_else(|| unit.clone(), |range| format!("{unit}, {range}"))
}
