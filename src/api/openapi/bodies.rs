//! Bodies whose fields depend on one another: one of several forms, each with all it may have.
//!
//! JSON Schema counts characters where the server counts bytes: names may be shorter than these descriptions say if they
//! are not ASCII.

use serde_json::{Value, json};

/// No control characters.
const NAME: &str = r"^[^\x00-\x1f\x7f-\x9f]+$";
const USER_MAX: usize = 256;
const SESSION: &str = "^s_[A-Za-z0-9_-]{21}[AQgw]$";

/// The schemas of requests that are described here, by their names.
pub(super) fn schemas() -> [(&'static str, Value); 2] {
    [("EndRequest", end_request()), ("TicketRequest", ticket_request())]
}

/// Exactly one of three, and `exp` only with `jti`.
fn end_request() -> Value {
    let sub = json!({
        "type": "string", "minLength": 1, "maxLength": USER_MAX, "pattern": NAME, "examples": ["u-123"],
        "description": "A user, of at most 256 bytes: all sessions end, and tokens issued so far begin none.",
    });
    let jti = json!({
        "type": "string", "minLength": 1, "maxLength": 512,
        "description": "A token, of at most 512 bytes: sessions that began with it end, and it begins none.",
    });
    let session = json!({
        "type": "string", "pattern": SESSION, "examples": ["s_AAAAAAAAAAAAAAAAAAAAAA"],
        "description": "One session; its user may come back.",
    });
    let exp = json!({
        "type": ["integer", "null"], "minimum": 0,
        "description": "When the token ends (`exp`): seconds since the Unix epoch, no further away than tokens live. \
                        Kept as long as any token may live unless given.",
    });
    json!({
        "description": "Whose sessions end: exactly one of `sub`, `jti` and `session`.",
        "oneOf": [
            form("A user.", "sub", &json!({ "sub": sub, "jti": absent(), "session": absent(), "exp": absent() })),
            form("A token.", "jti", &json!({ "sub": absent(), "jti": jti, "session": absent(), "exp": exp })),
            form("A session.", "session", &json!({
                "sub": absent(), "jti": absent(), "session": session, "exp": absent(),
            })),
        ],
    })
}

/// Of a service, which names a user, or of a user, who names nothing.
fn ticket_request() -> Value {
    let user = json!({
        "type": "string", "minLength": 1, "maxLength": USER_MAX, "pattern": NAME, "examples": ["u-123"],
        "description": "The user that a service with the scope `signal` vouches for: at most 256 bytes.",
    });
    let ttl = json!({
        "type": ["integer", "null"], "minimum": 60, "maximum": 86_400, "default": 3600,
        "description": "How long the session may live, in seconds; an hour unless given.",
    });
    json!({
        "description": "For whom a ticket is. A user with a token names nothing: the ticket is for that user.",
        "oneOf": [
            form("Of a service.", "user", &json!({ "user": user, "grants": grants(), "sessionTtl": ttl })),
            {
                "type": "object", "title": "Of a user.", "additionalProperties": false,
                "properties": { "user": absent(), "grants": absent(), "sessionTtl": absent() },
            },
        ],
    })
}

/// What a token says in the claim of `jwt.grants_claim`. What else is in it is not looked at.
fn grants() -> Value {
    let flag = json!({ "type": ["boolean", "null"] });
    let user = json!({ "type": "string", "minLength": 1, "maxLength": USER_MAX, "pattern": NAME });
    json!({
        "type": ["object", "null"],
        "description": "What the user may do, as a token has it in the claim of `jwt.grants_claim`.",
        "properties": {
            "device": { "type": ["string", "null"], "maxLength": 64, "pattern": r"^[^\x00-\x1f\x7f-\x9f]*$" },
            "role": { "enum": ["user", "sfu", "backend", "recorder", "admin", null] },
            "rooms": {
                "type": ["object", "null"],
                "maxProperties": 256,
                "propertyNames": { "minLength": 1, "maxLength": 129, "pattern": NAME },
                "additionalProperties": { "type": "array", "items": { "enum": ["join", "send"] } },
            },
            "call": {
                "type": ["object", "null"],
                "required": ["mode"],
                "properties": {
                    "mode": { "enum": ["deny", "list", "grant", "webhook", "any"] },
                    "to": { "type": ["array", "null"], "maxItems": 256, "items": user },
                },
            },
            "presence": flag,
            "message": flag,
            "maxSessions": { "type": ["integer", "null"], "minimum": 1, "maximum": u32::MAX },
            "turn": {
                "type": ["object", "null"],
                "properties": {
                    "use": flag,
                    "ttl": { "type": ["integer", "null"], "minimum": 1 },
                    "relayOnly": flag,
                    "quota": { "type": ["string", "null"], "pattern": "^[a-z0-9_-]{1,32}$" },
                },
            },
        },
    })
}

fn form(title: &str, required: &str, properties: &Value) -> Value {
    json!({
        "type": "object",
        "title": title,
        "required": [required],
        "properties": properties,
        "additionalProperties": false,
    })
}

/// Of the other forms: may be there, without a value.
fn absent() -> Value {
    json!({ "type": "null" })
}
