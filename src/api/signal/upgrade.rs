//! `GET /v1/signal`: how a request becomes a socket.

use std::time::Duration;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::upgrade::OnUpgrade;
use serde::Deserialize;
use sha1::{Digest as _, Sha1};
use utoipa::IntoParams;

use super::{Guest, connection::Opening, origin};
use crate::{
    api::{
        Service,
        exchange::Exchange,
        problem::{
            AMBIGUOUS_CREDENTIALS, HTTPS_REQUIRED, NOT_READY, ORIGIN_REFUSED, PARAMETER_INVALID,
            PARAMETER_UNKNOWN, Problem, ProblemKind, SIGNAL_OFF, SUBPROTOCOL_UNKNOWN, TICKET_INVALID,
            UPGRADE_REQUIRED,
        },
        query::Query,
    },
    runtime::descriptors::{self, Purpose},
    signaling::{Identity, Role, is_traceparent},
};
use axum::extract::FromRequestParts as _;

/// What `GET /v1/signal` refuses by itself.
pub(crate) const CONNECT_PROBLEMS: &[ProblemKind] = &[
    UPGRADE_REQUIRED,
    SUBPROTOCOL_UNKNOWN,
    ORIGIN_REFUSED,
    TICKET_INVALID,
    SIGNAL_OFF,
    NOT_READY,
    AMBIGUOUS_CREDENTIALS,
    PARAMETER_INVALID,
    PARAMETER_UNKNOWN,
    HTTPS_REQUIRED,
];

/// The protocol that is spoken.
const PROTOCOL: &str = "rtc-signal.v1";
/// When to try again what found no descriptor.
const FULL_PAUSE: Duration = Duration::from_secs(5);
/// Before a token in the list of protocols.
const BEARER: &str = "bearer.";
/// What the server adds to the client's key (RFC 6455 §1.3).
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// How a client says who it is before its first frame.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ConnectQuery {
    /// A ticket of `POST /v1/signal/tickets`.
    #[param(max_length = 12288)]
    ticket: Option<String>,
    /// As what a service takes part, which brings an API key: sfu, backend, recorder or admin.
    #[param(pattern = "^(sfu|backend|recorder|admin)$")]
    role: Option<String>,
}

/// Opens a WebSocket on which clients find each other, with the protocol rtc-signal.v1. Who a client is it says by its
/// first frame, `hello`; or by `Authorization: Bearer` and a token or API key; or by a ticket.
#[utoipa::path(
    get,
    path = "/v1/signal",
    tag = "signaling",
    params(ConnectQuery),
    responses((status = 101, description = "The socket is open."))
)]
pub(crate) async fn connect(State(service): State<Service>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let is_last = Exchange::of(&parts).known().is_last;
    match accept(&service, &mut parts).await {
        Ok((opening, response)) => {
            service.signal.counters.opened();
            tokio::spawn(opening.run());
            response
        }
        Err(problem) => {
            service.signal.counters.refused();
            let mut response = problem.into_response();
            if is_last {
                // Others wait for its descriptor.
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            response
        }
    }
}

async fn accept(service: &Service, parts: &mut Parts) -> Result<(Opening, Response), Problem> {
    let config = service.settings.load_full();
    let config = &config.config.signal;
    if !config.enabled {
        return Err(SIGNAL_OFF.into());
    }
    let key = client_key(&parts.headers)?;
    if service.signal.is_draining() || service.node.is_draining() {
        return Err(NOT_READY.with("This node drains; connect again, to another one."));
    }
    if !origin::is_welcome(&parts.headers, &config.origins) {
        return Err(ORIGIN_REFUSED.with("Add it to `signal.origins`."));
    }
    if Exchange::of(parts).known().is_last {
        descriptors::say_short(Purpose::Signal);
        return Err(NOT_READY
            .with("This node has no descriptor left for another socket; connect again later, or to another one.")
            .retry_after(FULL_PAUSE));
    }
    let offered = Offered::read(&parts.headers, config.bearer_subprotocol)?;
    let Query(query) = Query::<ConnectQuery>::from_request_parts(parts, &()).await?;
    let exchange = Exchange::of(parts);
    let known = exchange.known();
    let guest = Guest {
        address: exchange.client(),
        certificate: known.certificate.clone(),
        role: query.role.as_deref().map(role).transpose()?,
        traceparent: traceparent(&parts.headers),
    };
    let identity =
        identity(service, parts, &guest, offered.token.as_deref(), query.ticket.as_deref()).await?;
    let upgrade = parts.extensions.remove::<OnUpgrade>().ok_or(UPGRADE_REQUIRED)?;
    let response = switch(&key, offered.is_named);
    Ok((Opening { service: service.clone(), upgrade, guest, identity: identity.map(Box::new) }, response))
}

/// Who it is, if it said so already.
async fn identity(
    service: &Service,
    parts: &Parts,
    guest: &Guest,
    token: Option<&str>,
    ticket: Option<&str>,
) -> Result<Option<Identity>, Problem> {
    let has_header = parts.headers.contains_key(header::AUTHORIZATION)
        || parts.headers.contains_key(crate::api::caller::X_API_KEY);
    let ways = usize::from(has_header) + usize::from(token.is_some()) + usize::from(ticket.is_some());
    if ways > 1 {
        return Err(AMBIGUOUS_CREDENTIALS.with("Bring one token, key or ticket."));
    }
    let caller = if let Some(ticket) = ticket {
        return service.redeem(ticket, guest).await.map(Some);
    } else if let Some(token) = token {
        service.access.by_bearer(parts, token).await?
    } else if has_header {
        service.access.caller(parts).await?
    } else {
        return Ok(None);
    };
    service
        .identity_of(&caller, guest, "")
        .await
        .map(Some)
        .map_err(|denial| super::identity::problem(&denial))
}

/// What stands in `Sec-WebSocket-Protocol`.
struct Offered {
    /// Whether our protocol is named, and is to be echoed.
    is_named: bool,
    token: Option<String>,
}

impl Offered {
    fn read(headers: &HeaderMap, takes_token: bool) -> Result<Self, Problem> {
        let lists = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
        let texts: Vec<&str> = lists.map(|list| list.to_str().unwrap_or("?")).collect();
        let mut names =
            texts.iter().flat_map(|list| list.split(',')).map(str::trim).filter(|name| !name.is_empty());
        let mut offered = Self { is_named: false, token: None };
        let mut is_other = false;
        for name in names.by_ref() {
            match name.strip_prefix(BEARER) {
                _ if name == PROTOCOL => offered.is_named = true,
                Some(token) if takes_token && offered.token.is_none() => {
                    offered.token = Some(token.to_owned())
                }
                Some(_) if takes_token => {
                    return Err(AMBIGUOUS_CREDENTIALS.with("Bring one token."));
                }
                Some(_) => {
                    return Err(SUBPROTOCOL_UNKNOWN.with(
                        "Tokens are not taken from the subprotocol: `signal.bearer_subprotocol` is off.",
                    ));
                }
                None => is_other = true,
            }
        }
        if is_other && !offered.is_named {
            return Err(SUBPROTOCOL_UNKNOWN.with("The protocol is rtc-signal.v1."));
        }
        Ok(offered)
    }
}

/// The trace that a request belongs to, if it says so as W3C Trace Context has it.
fn traceparent(headers: &HeaderMap) -> Option<Box<str>> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    is_traceparent(text).then(|| text.into())
}

fn role(text: &str) -> Result<Role, Problem> {
    let known = [Role::Sfu, Role::Backend, Role::Recorder, Role::Admin];
    known
        .into_iter()
        .find(|role| role.as_str() == text)
        .ok_or_else(|| PARAMETER_INVALID.problem().at("/role", "must be sfu, backend, recorder or admin"))
}

/// The client's key, of a request that asks for a WebSocket (RFC 6455 §4.2.1).
fn client_key(headers: &HeaderMap) -> Result<HeaderValue, Problem> {
    let names = |header, wanted: &str| {
        let lists = headers.get_all(header).iter().filter_map(|list| list.to_str().ok());
        lists.flat_map(|list| list.split(',')).any(|word| word.trim().eq_ignore_ascii_case(wanted))
    };
    let is_upgrade = names(header::CONNECTION, "upgrade") && names(header::UPGRADE, "websocket");
    let has_version = headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    let key = headers.get(header::SEC_WEBSOCKET_KEY);
    let key = key.filter(|key| STANDARD.decode(key.as_bytes()).is_ok_and(|bytes| bytes.len() == 16));
    match key {
        Some(key) if is_upgrade && has_version => Ok(key.clone()),
        Some(_) | None => {
            Err(UPGRADE_REQUIRED.with("Open a WebSocket of version 13 here; a proxy must pass `Upgrade` on."))
        }
    }
}

fn switch(key: &HeaderValue, is_named: bool) -> Response {
    let accept =
        STANDARD.encode(Sha1::new().chain_update(key.as_bytes()).chain_update(KEY_SUFFIX).finalize());
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::try_from(accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if is_named {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_answered_as_the_specification_has_it() {
        let response = switch(&HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="), true);
        assert_eq!(response.headers()[header::SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(response.headers()[header::SEC_WEBSOCKET_PROTOCOL], PROTOCOL);
    }

    #[test]
    fn protocols_are_told_apart() {
        let read = |list: &str, takes_token| {
            let mut headers = HeaderMap::new();
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, list.parse().unwrap());
            let offered = Offered::read(&headers, takes_token);
            offered.map(|it| (it.is_named, it.token)).map_err(|problem| problem.kind().code)
        };
        assert_eq!(read("rtc-signal.v1", false), Ok((true, None)));
        assert_eq!(read("other, rtc-signal.v1", false), Ok((true, None)));
        assert_eq!(read("rtc-signal.v2", false), Err("subprotocol_unknown"));
        assert_eq!(read("rtc-signal.v1, bearer.a.b.c", true), Ok((true, Some("a.b.c".to_owned()))));
        assert_eq!(read("rtc-signal.v1, bearer.a.b.c", false), Err("subprotocol_unknown"));
        assert_eq!(read("bearer.a, bearer.b", true), Err("ambiguous_credentials"));
    }
}
