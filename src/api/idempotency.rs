//! `Idempotency-Key`: whoever repeats a POST because the answer was lost gets the same answer, on every node.

use axum::{
    body::{Body, Bytes},
    extract::{FromRequestParts as _, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::time::Duration;

use super::{
    body::{self, NO_STORE},
    caller::Caller,
    dialects::uberti,
    problem::{
        IDEMPOTENCY_KEY_IN_FLIGHT, IDEMPOTENCY_KEY_INVALID, IDEMPOTENCY_KEY_REUSED, INTERNAL, Problem,
    },
    service::Service,
};
use crate::cluster::Remembered;

/// The request header with the key.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer is an earlier one.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The longest key.
pub(crate) const KEY_BYTES_MAX: usize = 255;
/// How long answers are kept.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// How long a request may run until its key is free again, should its node have died.
const IN_FLIGHT_MAX: Duration = Duration::from_secs(60);
/// After a failure the key is free; so long the row that says so stays.
const FREED: Duration = Duration::from_secs(1);
/// Larger answers are not kept. Those of POST are far smaller.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// What is kept under a key.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// SHA-256 of the body it was sent with.
    body: [u8; 32],
    stage: Stage,
}

#[derive(PartialEq, Eq, Serialize, Deserialize)]
enum Stage {
    /// It runs.
    InFlight,
    /// It was refused.
    Free,
    /// It was answered.
    Answered { status: u16, media_type: Option<String>, text: String },
}

// Answers hold credentials.
impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::InFlight => "InFlight",
            Self::Free => "Free",
            Self::Answered { .. } => "Answered",
        })
    }
}

/// Stands before every endpoint. Costs nothing where the header is missing.
pub(crate) async fn once(State(service): State<Service>, request: Request, next: Next) -> Response {
    if request.method() != Method::POST || !request.headers().contains_key(IDEMPOTENCY_KEY) {
        return next.run(request).await;
    }
    match keyed(service, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn keyed(service: Service, request: Request, next: Next) -> Result<Response, Problem> {
    let (mut parts, content) = request.into_parts();
    let given = idempotency_key(&parts)?;
    let content = body::read(content).await?;
    // Nobody gets the answer of somebody else, and nobody gets it with a key that is revoked by now.
    let caller = match uberti::is_asked(parts.uri.path()) {
        true => uberti::caller(&service, &mut parts, &content).await?,
        false => Caller::from_request_parts(&mut parts, &service).await?,
    };
    let name = name(&caller, &parts, &given);
    let body: [u8; 32] = Sha256::digest(&content).into();
    parts.extensions.insert(caller);
    let running = Kept { body, stage: Stage::InFlight };
    match service.cluster.remember(&name, running.to_bytes(), IN_FLIGHT_MAX).await {
        Remembered::New => {}
        Remembered::Earlier(bytes) => {
            if let Some(response) = earlier(&bytes, &body)? {
                return Ok(response);
            }
            service.cluster.replace(&name, running.to_bytes(), IN_FLIGHT_MAX).await;
        }
    }
    let request = Request::from_parts(parts, Body::from(content));
    // Goes on when the caller hangs up: what it repeats later is then answered.
    let run = tokio::spawn(async move { run(&service, &name, body, request, next).await });
    run.await.map_err(|_| Problem::from(INTERNAL))
}

async fn run(service: &Service, name: &str, body: [u8; 32], request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if !response.status().is_success() {
        // Nothing was done: whoever mends the request, or comes later, may take the key again.
        let free = Kept { body, stage: Stage::Free };
        service.cluster.replace(name, free.to_bytes(), FREED).await;
        return response;
    }
    let (parts, content) = response.into_parts();
    let Ok(content) = axum::body::to_bytes(content, ANSWER_BYTES_MAX).await else {
        return INTERNAL.problem().into_response();
    };
    let media_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let stage = Stage::Answered {
        status: parts.status.as_u16(),
        media_type: media_type.map(str::to_owned),
        text: String::from_utf8_lossy(&content).into_owned(),
    };
    service.cluster.replace(name, Kept { body, stage }.to_bytes(), KEPT).await;
    Response::from_parts(parts, Body::from(content))
}

/// The answer that was given before; `None` if the request may run now.
fn earlier(bytes: &[u8], body: &[u8; 32]) -> Result<Option<Response>, Problem> {
    let Ok(kept) = serde_json::from_slice::<Kept>(bytes) else { return Ok(None) };
    if kept.stage == Stage::Free {
        return Ok(None);
    }
    if kept.body != *body {
        return Err(IDEMPOTENCY_KEY_REUSED.with("The body differs from the first one; take a new key."));
    }
    match kept.stage {
        Stage::InFlight => Err(IDEMPOTENCY_KEY_IN_FLIGHT.problem().retry_after(Duration::from_secs(1))),
        Stage::Free => Ok(None),
        Stage::Answered { status, media_type, text } => {
            let mut response = Response::new(Body::from(Bytes::from(text)));
            *response.status_mut() =
                StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let headers = response.headers_mut();
            if let Some(media_type) = media_type.and_then(|it| HeaderValue::try_from(it).ok()) {
                headers.insert(header::CONTENT_TYPE, media_type);
            }
            headers.insert(header::CACHE_CONTROL, NO_STORE);
            headers.insert(REPLAYED, HeaderValue::from_static("true"));
            Ok(Some(response))
        }
    }
}

fn idempotency_key(parts: &Parts) -> Result<String, Problem> {
    let mut given = parts.headers.get_all(IDEMPOTENCY_KEY).iter();
    let (Some(key), None) = (given.next(), given.next()) else {
        return Err(IDEMPOTENCY_KEY_INVALID.with("Send one key."));
    };
    let is_visible = |bytes: &[u8]| bytes.iter().all(|byte| (0x21..=0x7e).contains(byte));
    let fits = (1..=KEY_BYTES_MAX).contains(&key.len()) && is_visible(key.as_bytes());
    let key = key.to_str().ok().filter(|_| fits);
    key.map(str::to_owned).ok_or_else(|| {
        IDEMPOTENCY_KEY_INVALID.with(format!("It has 1 to {KEY_BYTES_MAX} visible characters of ASCII."))
    })
}

/// What it is kept under: nothing of it can be read back.
fn name(caller: &Caller, parts: &Parts, key: &str) -> String {
    let mut hash = Sha256::new();
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    for field in [&*caller.id, path, key] {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Kept {
    fn to_bytes(&self) -> Vec<u8> {
        // Text and numbers alone: this cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_body_gets_the_same_answer_and_another_none() {
        let stage =
            Stage::Answered { status: 201, media_type: Some("application/json".into()), text: "{}".into() };
        let kept = Kept { body: [1; 32], stage }.to_bytes();
        let response = earlier(&kept, &[1; 32]).unwrap().unwrap();
        assert_eq!(response.status(), 201);
        assert_eq!(response.headers()["idempotency-replayed"], "true");
        assert_eq!(earlier(&kept, &[2; 32]).unwrap_err().kind(), IDEMPOTENCY_KEY_REUSED);
    }

    #[test]
    fn a_running_request_is_not_run_twice_and_a_failed_one_is_free() {
        let running = Kept { body: [1; 32], stage: Stage::InFlight }.to_bytes();
        assert_eq!(earlier(&running, &[1; 32]).unwrap_err().kind(), IDEMPOTENCY_KEY_IN_FLIGHT);
        let free = Kept { body: [1; 32], stage: Stage::Free }.to_bytes();
        assert!(earlier(&free, &[1; 32]).unwrap().is_none());
        assert!(earlier(b"nothing of ours", &[1; 32]).unwrap().is_none());
    }

    #[test]
    fn what_is_kept_does_not_show() {
        let stage = Stage::Answered { status: 201, media_type: None, text: "hidden".into() };
        assert!(!format!("{:?}", Kept { body: [0; 32], stage }).contains("hidden"));
    }
}
