//! The file that belongs to `webhooks`: what they are signed with.

use super::{
    problem::{Origin, Problem},
    read::check_readable,
    secrets::{Findings, lines, open},
    types::Webhooks,
};
use crate::credentials::webhook::{SECRETS_MAX, WebhookSecret};

/// Fills the secrets of `webhooks` from the file that is named, and says what does not fit together.
pub(crate) fn read(webhooks: &mut Webhooks, origin: &dyn Fn(&'static str) -> Origin) -> Findings {
    const FILE: &str = "webhooks.secret_file";
    let mut findings = Findings::default();
    let fault = |key: &'static str, message: &str| Problem {
        key: key.to_owned(),
        value: None,
        origin: origin(key),
        message: message.to_owned(),
    };
    if let Some(path) = webhooks.secret_file.clone()
        && let Some(text) = open(&path, FILE, &origin(FILE), &mut findings)
    {
        for (number, line) in lines(&text) {
            match WebhookSecret::parse(line) {
                Ok(secret) => webhooks.secrets.push(secret),
                Err(error) => {
                    let place = Origin::File(path.clone(), Some(number));
                    findings.errors.push(Problem::of_file(place, error.to_string()));
                }
            }
        }
        if webhooks.secrets.is_empty() && findings.errors.is_empty() {
            findings.errors.push(fault(FILE, "holds no secret; write one on its first line"));
        }
        if webhooks.secrets.len() > SECRETS_MAX {
            findings.errors.push(fault(
                FILE,
                "holds more than two secrets; the new one and the one before it are enough",
            ));
        }
    }
    if let Some(url) = &webhooks.url {
        if webhooks.secret_file.is_none() {
            let message = "needs webhooks.secret_file, or the backend could not tell who calls; set it";
            findings.errors.push(fault("webhooks.url", message));
        }
        if !is_safe(url) {
            let message = "is not an https:// URL without user and fragment; plain http:// is for this machine and \
                           private networks alone";
            findings.errors.push(fault("webhooks.url", message));
        }
    }
    if webhooks.retries.is_empty() {
        findings.errors.push(fault("webhooks.retries", "is empty; name at least one wait"));
    }
    if webhooks.timeout.is_zero() {
        findings.errors.push(fault("webhooks.timeout", "is zero, so that every attempt would fail"));
    }
    if let Some(path) = &webhooks.ca_file
        && let Err(error) = check_readable(path)
    {
        findings.errors.push(fault("webhooks.ca_file", &error.to_string()));
    }
    findings
}

/// Over HTTPS, or to where nobody else listens: this machine, or a private address.
fn is_safe(url: &str) -> bool {
    let (rest, is_encrypted) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (rest, true),
        (None, Some(rest)) => (rest, false),
        (None, None) => return false,
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.is_empty() || authority.starts_with(':') || authority.contains('@') || rest.contains('#') {
        return false;
    }
    let host = match authority.strip_prefix('[') {
        Some(literal) => literal.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    is_encrypted || host == "localhost" || host.parse().is_ok_and(is_near)
}

fn is_near(ip: std::net::IpAddr) -> bool {
    match ip {
        std::net::IpAddr::V4(ip) => ip.is_loopback() || ip.is_private(),
        std::net::IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::is_safe;

    #[test]
    fn plain_http_stays_near() {
        for url in [
            "https://backend.example/rtc/events",
            "http://localhost:8080/rtc/events?x=1",
            "http://127.0.0.1/",
            "http://10.1.2.3:80/e",
            "http://[::1]:81/e",
            "http://[fd00::1]/e",
        ] {
            assert!(is_safe(url), "{url}");
        }
        for url in [
            "http://backend.example/",
            "http://127.0.0.1@backend.example/",
            "https://user:password@backend.example/",
            "https://backend.example/#x",
            "http://192.0.2.1/",
            "https://",
            "https://:443/",
            "ftp://backend.example/",
            "",
        ] {
            assert!(!is_safe(url), "{url}");
        }
    }
}
