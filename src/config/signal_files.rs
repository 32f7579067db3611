//! The file that belongs to `signal`: what questions to the backend are signed with; and what does not fit together.

use super::{
    problem::{Origin, Problem},
    read::check_readable,
    secrets::{Findings, lines, open},
    types::{DecisionKind, Jwt, Signal, SignalDefault},
};
use crate::credentials::webhook::{SECRETS_MAX, WebhookSecret};

const FILE: &str = "signal.authorize_secret_file";
const URL: &str = "signal.authorize_url";

/// Fills the secrets of `signal` from the file that is named, and says what does not fit together.
pub(crate) fn read(signal: &mut Signal, origin: &dyn Fn(&'static str) -> Origin) -> Findings {
    let mut findings = Findings::default();
    let fault = |key: &'static str, message: &str| Problem {
        key: key.to_owned(),
        value: None,
        origin: origin(key),
        message: message.to_owned(),
    };
    secrets(signal, origin, &mut findings);
    let authorize = &signal.authorize;
    match &authorize.url {
        Some(url) => {
            if authorize.secret_file.is_none() {
                let message =
                    "needs signal.authorize_secret_file, or the backend could not tell who asks; set it";
                findings.errors.push(fault(URL, message));
            }
            if !Jwt::jwks_url_is_safe(url) {
                let message = "is not an https:// URL; plain http:// is for this machine alone";
                findings.errors.push(fault(URL, message));
            }
        }
        None => {
            for (key, default) in
                [("signal.call_default", signal.call_default), ("signal.rooms_default", signal.rooms_default)]
            {
                if default == SignalDefault::Webhook {
                    findings.errors.push(fault(key, "nobody could be asked; set signal.authorize_url"));
                }
            }
        }
    }
    for (key, default, kind) in [
        ("signal.call_default", signal.call_default, DecisionKind::Call),
        ("signal.rooms_default", signal.rooms_default, DecisionKind::Join),
    ] {
        if default == SignalDefault::Webhook && !authorize.kinds.contains(&kind) {
            let message = format!("needs {} in signal.authorize_kinds", kind.as_str());
            findings.errors.push(fault(key, &message));
        }
    }
    if authorize.timeout.is_zero() {
        findings
            .errors
            .push(fault("signal.authorize_timeout", "is zero, so that nothing would ever be allowed"));
    }
    if signal.options.ring_timeout > signal.options.ring_timeout_max {
        let message = "is above signal.ring_timeout_max; lower it or raise the other";
        findings.errors.push(fault("signal.ring_timeout", message));
    }
    if signal.options.limits.hello_bytes > signal.options.limits.frame_bytes {
        let message = "is above signal.frame_bytes_max; lower it or raise the other";
        findings.errors.push(fault("signal.hello_bytes_max", message));
    }
    if let Some(path) = &authorize.ca_file
        && let Err(error) = check_readable(path)
    {
        findings.errors.push(fault("signal.authorize_ca_file", &error.to_string()));
    }
    findings
}

fn secrets(signal: &mut Signal, origin: &dyn Fn(&'static str) -> Origin, findings: &mut Findings) {
    let Some(path) = signal.authorize.secret_file.clone() else { return };
    let Some(text) = open(&path, FILE, &origin(FILE), findings) else { return };
    for (number, line) in lines(&text) {
        match WebhookSecret::parse(line) {
            Ok(secret) => signal.authorize.secrets.push(secret),
            Err(error) => {
                let place = Origin::File(path.clone(), Some(number));
                findings.errors.push(Problem::of_file(place, error.to_string()));
            }
        }
    }
    let message = match signal.authorize.secrets.len() {
        0 if findings.errors.is_empty() => "holds no secret; write one on its first line",
        0..=SECRETS_MAX => return,
        _ => "holds more than two secrets; the new one and the one before it are enough",
    };
    findings.errors.push(Problem::of_file(Origin::File(path, None), message.to_owned()));
}
