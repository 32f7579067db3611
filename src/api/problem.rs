//! Errors over HTTP: problem documents of RFC 9457 with a stable `code`.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// One kind of error. Codes never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What programs compare.
    pub code: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What people read.
    pub title: &'static str,
}

/// No such path.
pub(crate) const NOT_FOUND: Problem =
    Problem { code: "not_found", status: 404, title: "There is nothing at this path." };
/// The path does not take this method.
pub(crate) const METHOD_NOT_ALLOWED: Problem =
    Problem { code: "method_not_allowed", status: 405, title: "This path takes GET and HEAD only." };
/// A shard does not answer.
pub(crate) const UNHEALTHY: Problem =
    Problem { code: "unhealthy", status: 503, title: "A thread that relays does not answer." };
/// New clients should go elsewhere.
pub(crate) const NOT_READY: Problem =
    Problem { code: "not_ready", status: 503, title: "New clients should be sent elsewhere." };
/// A defect of the server.
pub(crate) const INTERNAL: Problem =
    Problem { code: "internal", status: 500, title: "The server failed to answer; its log says why." };

/// Every kind there is.
pub const PROBLEMS: [Problem; 5] = [NOT_FOUND, METHOD_NOT_ALLOWED, UNHEALTHY, NOT_READY, INTERNAL];

#[derive(Serialize)]
struct Document<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    code: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    reasons: &'a [String],
}

impl Problem {
    /// The answer, with reasons where there are any to name.
    pub(crate) fn answer(self, reasons: &[String]) -> Response {
        let document = Document {
            // The `code` says it all; there is no page to point to.
            r#type: "about:blank",
            title: self.title,
            status: self.status,
            code: self.code,
            reasons,
        };
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(document)).into_response();
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}
