//! The signaling relay: its WebSocket, and the backend it asks.

use std::path::Path;

use axum::http::{HeaderName, HeaderValue, Method, header};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::time::timeout;

use super::{
    finding::{Check, Finding, shown},
    http::Http,
    tls::Authorities,
};
use crate::config::{Config, SignalDefault};

/// Opens `/v1/signal` as a page of `origin` would, and leaves.
pub(super) async fn websocket(http: &Http, origin: Option<&str>) -> Finding {
    let check = if origin.is_some() { Check::Origins } else { Check::WebSocket };
    let mut nonce = [0; 16];
    // It need not be one that nobody could guess.
    getrandom::fill(&mut nonce).unwrap_or_default();
    let key = HeaderValue::from_str(&STANDARD.encode(nonce));
    let (Ok(key), Ok(origin_value)) = (key, origin.map(HeaderValue::from_str).transpose()) else {
        return check.skipped("--origin is no origin such as https://app.example.org");
    };
    let mut headers: Vec<(HeaderName, HeaderValue)> = vec![
        (header::CONNECTION, HeaderValue::from_static("Upgrade")),
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")),
        (header::SEC_WEBSOCKET_KEY, key),
        (header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("rtc-signal.v1")),
    ];
    headers.extend(origin_value.map(|value| (header::ORIGIN, value)));
    let whose = origin.map(|origin| format!(" for pages of {origin}")).unwrap_or_default();
    match http.ask(Method::GET, "/v1/signal", None, &headers).await {
        Ok(reply) if reply.status == 101 => check.ok(format!("opens{whose} in {}", shown(reply.took))),
        // It is there; what keys are for is the operator's affair.
        Ok(reply) if reply.status == 403 && reply.problem().contains("scope `signal`") => check
            .skipped(format!("answers, but not to a key without the scope signal{whose}"))
            .mend("add the scope signal to the key to have it tried"),
        Ok(reply) if reply.status == 403 && origin.is_some() => check
            .failure(format!("refused{whose}"))
            .mend(format!("add {:?} to signal.origins", origin.unwrap_or_default())),
        Ok(reply) if reply.status == 404 => check.hint("there is none (signal.enabled is off)"),
        Ok(reply) => check
            .failure(format!("does not open{whose}: {}", reply.problem()))
            .mend("a proxy in between must pass Upgrade on, and idle longer than 35 s"),
        Err(why) => check.failure(format!("does not open{whose}: {why}")).mend("see server.running"),
    }
}

/// What the configuration says of it.
pub(super) async fn configured(config: &Config) -> Vec<Finding> {
    let signal = &config.signal;
    if !signal.enabled {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let has_users = config.jwt.issuer.is_some();
    if has_users && signal.origins.is_empty() {
        let hint = Check::Origins.hint("only pages of this server itself may connect");
        findings.push(hint.mend("signal.origins = [\"https://app.example.org\"] for pages of yours"));
    }
    match &signal.authorize.url {
        Some(url) => findings.push(authorize(config, url).await),
        None if signal.call_default == SignalDefault::Any => {
            let warning =
                Check::Authorize.warning("signal.call_default is any: every user may call every other");
            findings.push(warning.mend("signal.authorize_url, or grants in tokens"));
        }
        None => {}
    }
    findings
}

/// Whether the backend answers at all. It is asked nothing that it could act upon.
async fn authorize(config: &Config, url: &str) -> Finding {
    let check = Check::Authorize;
    let settings = &config.signal.authorize;
    let http = Authorities::read(settings.ca_file.as_deref().map(Path::new))
        .and_then(|it| Http::url(url, None, Some(&it)));
    let http = match http {
        Ok(http) => http,
        Err(error) => return check.failure(error.to_string()).mend("correct signal.authorize_url"),
    };
    let mend = "calls are refused while it is silent: is it up, and can this machine reach it?";
    let most = settings.timeout;
    match timeout(most, http.ask(Method::OPTIONS, "", None, &[])).await {
        Ok(Ok(reply)) if reply.status < 500 => {
            check.ok(format!("the backend answers in {}", shown(reply.took)))
        }
        Ok(Ok(reply)) => {
            check.warning(format!("the backend answers {}", reply.status)).mend("look into its log")
        }
        Ok(Err(why)) => check.failure(format!("the backend does not answer: {why}")).mend(mend),
        Err(_) => check
            .failure(format!("the backend does not answer within {} (signal.authorize_timeout)", shown(most)))
            .mend(mend),
    }
}
