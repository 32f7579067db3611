//! The query and the path of a request, with a sentence for each fault.

use std::borrow::Cow;

use axum::{
    extract::{FromRequestParts, Path as DecodedPath, Query as Decoded},
    http::request::Parts,
};
use serde::de::DeserializeOwned;

use super::problem::{NOT_FOUND, PARAMETER_INVALID, PARAMETER_UNKNOWN, Problem};

/// A query of known parameters.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match Decoded::try_from_uri(&parts.uri) {
            Ok(Decoded(query)) => Ok(Self(query)),
            Err(error) => Err(explain(&error.body_text())),
        }
    }
}

/// The variable parts of a path.
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match DecodedPath::from_request_parts(parts, state).await {
            Ok(DecodedPath(path)) => Ok(Self(path)),
            // What is not even UTF-8 names nothing.
            Err(_) => Err(NOT_FOUND.into()),
        }
    }
}

/// Names of parameters are repeated, values are not: they may be keys.
fn explain(error: &str) -> Problem {
    let named = |prefix: &str| {
        let rest = error.split_once(prefix)?.1;
        Some(rest.split('`').next()?.chars().take(64).collect::<String>())
    };
    if let Some(name) = named("unknown field `") {
        return PARAMETER_UNKNOWN.problem().at(pointer(&name), "is not known");
    }
    if let Some(name) = named("missing field `") {
        return PARAMETER_INVALID.problem().at(pointer(&name), "is missing");
    }
    if let Some(name) = named("duplicate field `") {
        return PARAMETER_INVALID.problem().at(pointer(&name), "is there twice");
    }
    // `Failed to deserialize query string: limit: invalid digit found in string`
    let mut words = error.splitn(3, ": ").skip(1);
    match (words.next(), words.next()) {
        (Some(name), Some(fault)) if name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') => {
            let expected = fault.rsplit_once("expected ").map(|(_, expected)| expected.replace('`', "\""));
            let detail =
                expected.map_or(Cow::Borrowed("cannot be read"), |it| format!("must be {it}").into());
            PARAMETER_INVALID.problem().at(pointer(name), detail)
        }
        _ => PARAMETER_INVALID.problem(),
    }
}

fn pointer(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use axum::http::{Request, Uri};
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Page {
        after: Option<String>,
        limit: Option<u32>,
        kind: Option<Kind>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Large,
        Small,
    }

    async fn read(query: &str) -> Result<Page, Problem> {
        let uri: Uri = format!("/x?{query}").parse().unwrap();
        let (mut parts, ()) = Request::builder().uri(uri).body(()).unwrap().into_parts();
        Query::from_request_parts(&mut parts, &()).await.map(|Query(page)| page)
    }

    #[tokio::test]
    async fn faults_name_the_parameter_and_not_its_value() {
        assert_eq!(read("after=a%20b&limit=5").await.unwrap().after.as_deref(), Some("a b"));
        for (query, code, said) in [
            ("key=hidden", "parameter_unknown", "/key"),
            ("limit=hidden", "parameter_invalid", "/limit"),
            ("limit=-1", "parameter_invalid", "/limit"),
            ("limit=1&limit=2", "parameter_invalid", "/limit"),
            ("kind=hidden", "parameter_invalid", "\\\"large\\\" or \\\"small\\\""),
        ] {
            let problem = read(query).await.expect_err(query);
            let text = String::from_utf8(problem.document(None)).unwrap();
            assert_eq!(problem.kind().code, code, "{query}: {text}");
            assert!(text.contains(said) && !text.contains("hidden"), "{query}: {text}");
        }
    }
}
