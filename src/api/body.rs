//! Bodies: of a request, as JSON, with a bound on its size and time and a sentence for each fault; of an answer.

use std::{fmt, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, Request},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, Error, Unexpected, Visitor},
};
use serde_json::{Map, Value, error::Category};
use tokio::time::timeout;

use super::problem::{
    BODY_BROKEN, BODY_TOO_LARGE, BODY_TOO_SLOW, FIELD_INVALID, FIELD_MISSING, FIELD_UNKNOWN, INTERNAL,
    JSON_MALFORMED, MEDIA_TYPE_UNSUPPORTED, Problem,
};

/// The largest body that is read: the longest list of secrets fits several times.
pub(crate) const BODY_BYTES_MAX: usize = 64 << 10;
/// How long a caller may take to send it.
pub(crate) const BODY_TIME_MAX: Duration = Duration::from_secs(5);
/// Answers with credentials fit; larger ones grow.
const ANSWER_BYTES_USUAL: usize = 1024;
/// Answers hold credentials.
pub(crate) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// How much of an unknown field's name is repeated.
const NAME_CHARS_SHOWN: usize = 64;

/// A body of type `application/json` with a `T` in it.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        is_json(request.headers())?;
        let body = read(request.into_body()).await?;
        parse(&body).map(Self)
    }
}

/// A whole number, also where JSON writes it `60.0`. Beyond 64 bits it is the last one within, so that whoever checks
/// bounds says what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whole(pub(crate) i64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WholeVisitor)
    }
}

struct WholeVisitor;

impl Visitor<'_> for WholeVisitor {
    type Value = Whole;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Whole, E> {
        Ok(Whole(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Whole, E> {
        Ok(Whole(i64::try_from(number).unwrap_or(i64::MAX)))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Whole, E> {
        if number.fract() == 0.0 {
            // Saturates.
            return Ok(Whole(number as i64));
        }
        Err(E::invalid_type(Unexpected::Float(number), &self))
    }
}

/// An answer of JSON that nobody may keep: 200.
pub(crate) struct Answer<T>(pub(crate) T);

/// An answer of JSON that nobody may keep: 201.
pub(crate) struct Created<T>(pub(crate) T);

/// An answer without a body: 204.
pub(crate) struct NoContent;

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        respond(StatusCode::OK, &self.0)
    }
}

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        respond(StatusCode::CREATED, &self.0)
    }
}

impl IntoResponse for NoContent {
    fn into_response(self) -> Response {
        (StatusCode::NO_CONTENT, [(header::CACHE_CONTROL, NO_STORE)]).into_response()
    }
}

fn respond(status: StatusCode, value: &impl Serialize) -> Response {
    let mut text = Vec::with_capacity(ANSWER_BYTES_USUAL);
    if let Err(error) = serde_json::to_writer(&mut text, value) {
        tracing::error!(%error, "An answer cannot be written.");
        return INTERNAL.problem().into_response();
    }
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    response
}

/// Reads a body to its end.
pub(crate) async fn read(body: Body) -> Result<Bytes, Problem> {
    let collected = timeout(BODY_TIME_MAX, Limited::new(body, BODY_BYTES_MAX).collect()).await;
    match collected {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(BODY_TOO_LARGE.with(format!("At most {BODY_BYTES_MAX} bytes are read.")))
        }
        Ok(Err(_)) => Err(BODY_BROKEN.problem()),
        Err(_) => Err(BODY_TOO_SLOW.with(format!("It must arrive within {} s.", BODY_TIME_MAX.as_secs()))),
    }
}

fn is_json(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(MEDIA_TYPE_UNSUPPORTED.with("Send `Content-Type: application/json`."))
}

/// Reads JSON; what is wrong is looked for only if something is.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let read = serde_json::from_slice(body).map_err(|error| explain::<T>(body, &error))?;
    // An array of the members in their order is read as well, and is nothing that is described.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(no_object());
    }
    Ok(read)
}

fn no_object() -> Problem {
    FIELD_INVALID.problem().at("", "must be an object")
}

fn explain<T: DeserializeOwned>(body: &[u8], error: &serde_json::Error) -> Problem {
    let value = match serde_json::from_slice::<Value>(body) {
        Ok(value) => value,
        Err(error) => {
            let place = format!("line {}, column {}", error.line(), error.column());
            return JSON_MALFORMED.with(match error.classify() {
                Category::Eof => format!("It ends too early, at {place}."),
                Category::Syntax | Category::Data | Category::Io => format!("It is not JSON, at {place}."),
            });
        }
    };
    let Value::Object(members) = value else {
        return no_object();
    };
    members.into_iter().find_map(|(name, value)| fault::<T>(&name, value)).unwrap_or_else(|| whole(error))
}

/// What is wrong with one member: each is tried alone, so that the fault is known to be there.
fn fault<T: DeserializeOwned>(name: &str, value: Value) -> Option<Problem> {
    let alone = Value::Object(Map::from_iter([(name.to_owned(), value)]));
    let error = serde_json::from_value::<T>(alone).err()?.to_string();
    let shown: String = name.chars().take(NAME_CHARS_SHOWN).collect();
    let pointer = format!("/{}", shown.replace('~', "~0").replace('/', "~1"));
    if error.starts_with("missing field") {
        return None;
    }
    // What was given may be a secret: only what is expected is repeated.
    let expected = error.rsplit_once("expected ").map(|(_, expected)| expected);
    if error.starts_with("unknown field") {
        let known = expected.unwrap_or("none").replace('`', "\"");
        return Some(FIELD_UNKNOWN.problem().at(pointer, format!("is not known; known: {known}")));
    }
    let detail = expected
        .map_or_else(|| "cannot be used".to_owned(), |expected| format!("must be {}", in_words(expected)));
    Some(FIELD_INVALID.problem().at(pointer, detail))
}

/// What is wrong with the body as a whole.
fn whole(error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let named = |prefix: &str| {
        let name = text.strip_prefix(prefix)?.split('`').next()?;
        Some(format!("/{}", name.chars().take(NAME_CHARS_SHOWN).collect::<String>()))
    };
    if let Some(pointer) = named("missing field `") {
        return FIELD_MISSING.problem().at(pointer, "is missing");
    }
    if let Some(pointer) = named("duplicate field `") {
        return JSON_MALFORMED.problem().at(pointer, "is there twice");
    }
    JSON_MALFORMED.problem()
}

/// Rust's names of types mean nothing to the caller.
fn in_words(expected: &str) -> String {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => {
            "a whole number that is not negative and not too large".to_owned()
        }
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "a list".to_owned(),
        other => other.replace('`', "\""),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Order {
        name: String,
        count: Option<u8>,
        urgent: Option<bool>,
        kinds: Option<Vec<Kind>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Large,
        Small,
    }

    fn refused(body: &str) -> (&'static str, serde_json::Value) {
        let problem = parse::<Order>(body.as_bytes()).expect_err(body);
        let document: Value = serde_json::from_slice(&problem.document(None)).unwrap();
        (problem.kind().code, document)
    }

    #[test]
    fn what_is_no_json_is_said_with_its_place() {
        for body in [
            "",
            "{",
            "{\"name\":\"x\"",
            "nothing",
            "{\"name\":\"x\"} x",
            "\u{fffe}",
            "{\"name\":\"\\ud800\"}",
        ] {
            let (code, document) = refused(body);
            assert_eq!(code, "json_malformed", "{body}");
            assert!(document["detail"].as_str().unwrap().contains("line"), "{document}");
        }
        assert_eq!(refused("{\"name\":\"x\",\"name\":\"y\"}").0, "json_malformed");
        let deep = "[".repeat(100_000);
        assert_eq!(refused(&deep).0, "json_malformed");
    }

    #[test]
    fn what_does_not_fit_is_named_by_its_pointer() {
        let at = |body: &str| {
            let (code, document) = refused(body);
            let error = &document["errors"][0];
            (
                code,
                error["pointer"].as_str().unwrap().to_owned(),
                error["detail"].as_str().unwrap().to_owned(),
            )
        };
        let expected = |code, pointer: &str, detail: &str| (code, pointer.to_owned(), detail.to_owned());

        for body in ["[]", "[\"x\",1,true,[]]", "7", " null"] {
            assert_eq!(at(body), expected("field_invalid", "", "must be an object"), "{body}");
        }
        assert_eq!(at("{}"), expected("field_missing", "/name", "is missing"));
        assert_eq!(at("{\"name\":7}"), expected("field_invalid", "/name", "must be a string"));
        assert_eq!(at("{\"name\":null}"), expected("field_invalid", "/name", "must be a string"));
        let number = "must be a whole number that is not negative and not too large";
        for count in ["-1", "256", "1.5", "\"1\"", "1e99"] {
            let body = format!("{{\"name\":\"x\",\"count\":{count}}}");
            assert_eq!(at(&body), expected("field_invalid", "/count", number), "{count}");
        }
        assert_eq!(
            at("{\"urgent\":1,\"name\":\"x\"}"),
            expected("field_invalid", "/urgent", "must be true or false")
        );
        assert_eq!(at("{\"kinds\":\"large\"}"), expected("field_invalid", "/kinds", "must be a list"));
        assert_eq!(
            at("{\"kinds\":[\"large\",\"huge\"]}"),
            expected("field_invalid", "/kinds", "must be \"large\" or \"small\"")
        );
        assert_eq!(
            at("{\"a/b~\":1}"),
            expected(
                "field_unknown",
                "/a~1b~0",
                "is not known; known: one of \"name\", \"count\", \"urgent\", \"kinds\""
            )
        );
    }

    #[test]
    fn nothing_that_was_given_is_repeated() {
        for body in [
            "{\"name\":[\"hidden\"]}",
            "{\"count\":\"hidden\"}",
            "{\"kinds\":[\"hidden\"]}",
            "{\"name\":\"hidden",
        ] {
            assert!(!refused(body).1.to_string().contains("hidden"), "{body}");
        }
        let long = format!("{{\"{}\":1}}", "x".repeat(10_000));
        assert!(refused(&long).1.to_string().len() < 500);
    }
}
