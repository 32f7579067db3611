//! `/openapi.json`: derived from the handlers, completed with what they refuse.

mod bodies;

use std::collections::BTreeMap;

use axum::Router;
use serde_json::{Map, Value, json};
use utoipa::openapi::{Info, OpenApi, Paths, path::Operation};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use super::{
    dialects::uberti,
    idempotency::KEY_BYTES_MAX,
    problem::{
        ALGORITHM_REFUSED, AMBIGUOUS_CREDENTIALS, AUDIENCE_WRONG, BODY_BROKEN, BODY_TOO_LARGE, BODY_TOO_SLOW,
        CERTIFICATE_REQUIRED, CERTIFICATE_UNKNOWN, FIELD_INVALID, FIELD_MISSING, FIELD_UNKNOWN,
        GRANT_MISSING, HTTPS_REQUIRED, IDEMPOTENCY_KEY_IN_FLIGHT, IDEMPOTENCY_KEY_INVALID,
        IDEMPOTENCY_KEY_REUSED, INTERNAL, ISSUER_WRONG, JSON_MALFORMED, KEY_EXPIRED, KEY_IN_QUERY,
        KEY_UNKNOWN, MEDIA_TYPE_UNSUPPORTED, NETWORK_REFUSED, NOT_FOUND, ORIGIN_REFUSED, PARAMETER_INVALID,
        PARAMETER_UNKNOWN, ProblemKind, RATE_LIMITED, SCOPE_MISSING, THROTTLED, TOKEN_EXPIRED, TOKEN_INVALID,
        TOKEN_KEY_UNKNOWN, TOKEN_KEYS_UNAVAILABLE, TOKEN_NOT_YET_VALID, TOKENS_NOT_TAKEN, UNAUTHENTICATED,
    },
    service::Service,
};

/// What every endpoint that needs a caller may answer.
const CALLER_PROBLEMS: &[ProblemKind] = &[
    UNAUTHENTICATED,
    AMBIGUOUS_CREDENTIALS,
    KEY_UNKNOWN,
    KEY_EXPIRED,
    KEY_IN_QUERY,
    CERTIFICATE_REQUIRED,
    CERTIFICATE_UNKNOWN,
    TOKEN_INVALID,
    TOKEN_EXPIRED,
    TOKEN_NOT_YET_VALID,
    TOKEN_KEY_UNKNOWN,
    TOKENS_NOT_TAKEN,
    ALGORITHM_REFUSED,
    AUDIENCE_WRONG,
    ISSUER_WRONG,
    TOKEN_KEYS_UNAVAILABLE,
    NETWORK_REFUSED,
    SCOPE_MISSING,
    GRANT_MISSING,
    THROTTLED,
    RATE_LIMITED,
    HTTPS_REQUIRED,
    ORIGIN_REFUSED,
    INTERNAL,
];
const JSON_PROBLEMS: &[ProblemKind] =
    &[MEDIA_TYPE_UNSUPPORTED, JSON_MALFORMED, FIELD_UNKNOWN, FIELD_MISSING, FIELD_INVALID];
const BODY_PROBLEMS: &[ProblemKind] = &[BODY_TOO_LARGE, BODY_TOO_SLOW, BODY_BROKEN];
const QUERY_PROBLEMS: &[ProblemKind] = &[PARAMETER_UNKNOWN, PARAMETER_INVALID];
const IDEMPOTENCY_PROBLEMS: &[ProblemKind] =
    &[IDEMPOTENCY_KEY_INVALID, IDEMPOTENCY_KEY_REUSED, IDEMPOTENCY_KEY_IN_FLIGHT];

const ABOUT: &str = "Credentials for a TURN server, and its administration. Every error is a problem document (RFC 9457) \
                     with a stable `code`. Numbers of bytes and seconds are integers; points in time are seconds since \
                     the Unix epoch unless they are named otherwise.";

/// Routes, with their description.
pub(crate) struct Endpoints {
    router: OpenApiRouter<Service>,
    answers: Vec<(String, &'static str, Answers)>,
}

/// What an operation answers beside what it is for.
struct Answers {
    problems: Vec<ProblemKind>,
    guard: Guard,
}

/// Who lets callers in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Only callers with a key, token or certificate.
    Caller,
    /// Those, and others from some addresses.
    CallerOrAddress,
    /// Anybody.
    Nobody,
}

impl Endpoints {
    pub(crate) fn new() -> Self {
        let info = Info::builder()
            .title("iceway")
            .version(env!("CARGO_PKG_VERSION"))
            .description(Some(ABOUT))
            .license(Some(utoipa::openapi::License::new("Apache-2.0 OR MIT")))
            .build();
        let router = OpenApiRouter::with_openapi(OpenApi::new(info, Paths::new()));
        Self { router, answers: Vec::new() }
    }

    /// Adds routes, with what they refuse beside what all do that are guarded like this.
    pub(crate) fn add(
        mut self,
        guard: Guard,
        routes: UtoipaMethodRouter<Service>,
        own: &[&[ProblemKind]],
    ) -> Self {
        self.note(&routes.1, own, guard);
        self.router = self.router.routes(routes);
        self
    }

    fn note(&mut self, paths: &Paths, own: &[&[ProblemKind]], guard: Guard) {
        for (path, item) in &paths.paths {
            for (method, operation) in [("get", &item.get), ("post", &item.post), ("delete", &item.delete)] {
                let Some(operation) = operation else { continue };
                let mut problems: Vec<ProblemKind> = own.concat();
                if guard != Guard::Nobody {
                    problems.extend(problems_of(path, method, operation));
                }
                self.answers.push((path.clone(), method, Answers { problems, guard }));
            }
        }
    }

    /// The routes, and the document as text.
    pub(crate) fn split(self) -> (Router<Service>, String) {
        let (router, api) = self.router.split_for_parts();
        // What was derived is plain data: it can be written.
        let mut document = serde_json::to_value(&api).unwrap_or_default();
        for (path, method, answers) in &self.answers {
            if let Some(operation) = document
                .get_mut("paths")
                .and_then(|paths| paths.get_mut(path))
                .and_then(|item| item.get_mut(*method))
                .and_then(Value::as_object_mut)
            {
                complete(operation, method, answers);
            }
        }
        adjust(&mut document);
        add_alias(&mut document, uberti::PATH, uberti::ALIAS);
        document["components"]["schemas"]["Problem"] = problem_schema();
        document["components"]["securitySchemes"] = security_schemes();
        document["security"] = json!([{ "bearer": [] }, { "clientCertificate": [] }]);
        let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
        text.push('\n');
        (router, text)
    }
}

fn problems_of(path: &str, method: &str, operation: &Operation) -> Vec<ProblemKind> {
    let mut problems = CALLER_PROBLEMS.to_vec();
    let is_dialect = uberti::is_asked(path);
    let parameters = operation.parameters.as_deref().unwrap_or_default();
    let stands_in = |place: &str| {
        let text = serde_json::to_value(parameters).unwrap_or_default();
        text.as_array().is_some_and(|list| list.iter().any(|one| one["in"] == place))
    };
    if stands_in("query") && !is_dialect {
        problems.extend(QUERY_PROBLEMS);
    }
    if stands_in("path") {
        problems.push(NOT_FOUND);
    }
    if operation.request_body.is_some() && !is_dialect {
        problems.extend(JSON_PROBLEMS);
    }
    if method == "post" {
        problems.extend(BODY_PROBLEMS);
        problems.extend(IDEMPOTENCY_PROBLEMS);
    }
    problems
}

/// Writes down what an operation refuses, one answer for each status.
fn complete(operation: &mut Map<String, Value>, method: &str, answers: &Answers) {
    let mut by_status: BTreeMap<u16, Vec<ProblemKind>> = BTreeMap::new();
    for kind in &answers.problems {
        let kinds = by_status.entry(kind.status).or_default();
        if !kinds.contains(kind) {
            kinds.push(*kind);
        }
    }
    if let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) {
        for (status, kinds) in by_status {
            responses.insert(status.to_string(), problem_answer(&kinds));
        }
        for response in responses.values_mut() {
            response["headers"]["X-Request-Id"] = json!({
                "description": "Names the request, in the log too.",
                "schema": { "type": "string" },
            });
        }
    }
    let security = match answers.guard {
        Guard::Caller => None,
        Guard::CallerOrAddress => Some(json!([{}, { "bearer": [] }, { "clientCertificate": [] }])),
        Guard::Nobody => Some(json!([])),
    };
    if let Some(security) = security {
        operation.insert("security".to_owned(), security);
    }
    if method == "post" {
        let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
        if let Some(parameters) = parameters.as_array_mut() {
            parameters.push(json!({
                "name": "Idempotency-Key",
                "in": "header",
                "description": "The same key with the same body gets the same answer for 24 hours, on every node.",
                "required": false,
                "schema": {
                    "type": "string", "minLength": 1, "maxLength": KEY_BYTES_MAX, "pattern": "^[!-~]+$",
                },
            }));
        }
    }
}

fn problem_answer(kinds: &[ProblemKind]) -> Value {
    let lines: Vec<String> = kinds.iter().map(|kind| format!("`{}`: {}", kind.code, kind.title)).collect();
    let codes: Vec<&str> = kinds.iter().map(|kind| kind.code).collect();
    json!({
        "description": lines.join("\n\n"),
        "content": { "application/problem+json": { "schema": {
            "allOf": [
                { "$ref": "#/components/schemas/Problem" },
                { "type": "object", "properties": { "code": { "type": "string", "enum": codes } } },
            ],
        } } },
    })
}

fn problem_schema() -> Value {
    json!({
        "type": "object",
        "description": "A problem document of RFC 9457.",
        "required": ["type", "title", "status", "code"],
        "properties": {
            "type": { "type": "string", "description": "`about:blank`: `code` says it all." },
            "title": { "type": "string", "description": "What people read." },
            "status": { "type": "integer", "description": "The HTTP status.", "minimum": 400, "maximum": 599 },
            "code": { "type": "string", "description": "What programs compare. Never changes its meaning." },
            "detail": { "type": "string", "description": "What is particular about this one." },
            "instance": { "type": "string", "description": "The id of the request." },
            "errors": {
                "type": "array",
                "description": "The fields that are at fault.",
                "items": {
                    "type": "object",
                    "required": ["pointer", "detail"],
                    "properties": {
                        "pointer": { "type": "string", "description": "A JSON pointer (RFC 6901) to the field." },
                        "detail": { "type": "string", "description": "What is wrong with it." },
                    },
                },
            },
            "reasons": { "type": "array", "items": { "type": "string" }, "description": "All there is to say." },
        },
    })
}

fn security_schemes() -> Value {
    json!({
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key `iw_…`, or a JWT of the configured issuer.",
        },
        "clientCertificate": {
            "type": "mutualTLS",
            "description": "A certificate of an authority of `http.client_ca_file` with a name of `api.certificates`.",
        },
    })
}

/// Writes down what cannot be derived.
fn adjust(document: &mut Value) {
    for (name, schema) in bodies::schemas() {
        document["components"]["schemas"][name] = schema;
    }
    if let Some(body) = document.pointer_mut("/paths/~1turn/post/requestBody/required") {
        *body = json!(false);
    }
    if let Some(address) = document.pointer_mut("/components/schemas/CredentialsRequest/properties/clientIp")
        && let Some(address) = address.as_object_mut()
    {
        address.insert(
            "anyOf".to_owned(),
            json!([{ "format": "ipv4" }, { "format": "ipv6" }, { "type": "null" }]),
        );
    }
}

/// Describes a path that leads to the same place.
fn add_alias(document: &mut Value, path: &str, alias: &str) {
    let Some(mut item) = document["paths"].get(path).cloned() else { return };
    for operation in item.as_object_mut().into_iter().flat_map(Map::values_mut) {
        if let Some(id) = operation["operationId"].as_str() {
            operation["operationId"] = json!(format!("{id}_alias"));
        }
    }
    document["paths"][alias] = item;
}
