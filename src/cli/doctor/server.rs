//! The server itself: whether it runs, what it says of itself, and credentials from it.

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{
    finding::{Check, Finding, shown},
    http::{Http, Reply},
    relay::Credential,
    system::Process,
};

/// Whom the relay is tried for; quotas count by these names.
pub(super) const USERS: [&str; 2] = ["iceway-doctor-1", "iceway-doctor-2"];
/// The least that servers give unless they are told otherwise.
pub(super) const CREDENTIAL_SECONDS: u64 = 300;

/// What `/readyz` says.
pub(super) async fn running(http: &Http, is_inside: bool) -> (Finding, Option<Reply>) {
    let check = Check::Running;
    let reply = match http.get("/readyz").await {
        Ok(reply) => reply,
        Err(why) => {
            let failure = check.failure(format!("no answer at {}: {why}", http.shown()));
            let mend = if is_inside {
                "start it (systemctl start iceway); is http.listen or http.control_socket another one?"
            } else {
                "is it up, and does the firewall let its HTTP port through? http.listen is 127.0.0.1 unless set"
            };
            return (failure.mend(mend), None);
        }
    };
    let value = reply.json();
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let finding = match reply.status {
        200 if text("status") == "degraded" => {
            let reasons = list(&value);
            check.warning(format!("degraded: {reasons}")).mend("calls go on; see Redis")
        }
        200 => {
            let allocations = value.get("allocations").and_then(Value::as_u64).unwrap_or(0);
            check.ok(format!("ready, {allocations} allocations, answers in {}", shown(reply.took)))
        }
        503 => check
            .warning(format!("not ready: {}", reply.problem()))
            .mend("it takes no new clients; if it drains, wait or restart it"),
        _ => check
            .failure(format!("{} answers {}", http.shown(), reply.problem()))
            .mend("is this iceway's HTTP listener?"),
    };
    (finding, Some(reply))
}

fn list(value: &Value) -> String {
    let reasons = value.get("reasons").and_then(Value::as_array);
    let reasons: Vec<&str> = reasons.into_iter().flatten().filter_map(Value::as_str).collect();
    reasons.join("; ")
}

/// What the metrics say of the process.
pub(super) async fn process(http: &Http) -> Process {
    let Ok(reply) = http.get("/metrics").await else { return Process::default() };
    let page = String::from_utf8_lossy(&reply.body);
    let value = |name: &str| {
        page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse::<f64>().ok())
    };
    let descriptors = value("process_max_fds").filter(|number| *number >= 0.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a count")]
    let descriptors = descriptors.map(|number| number as u64);
    Process { descriptors, may_force: None }
}

/// Credentials, and the URIs that come with them.
pub(super) struct Issued {
    pub(super) credentials: [Credential; 2],
    pub(super) uris: Vec<String>,
}

/// Asks the API for a credential, as a backend does.
///
/// # Errors
/// It gives none.
pub(super) async fn issue(http: &Http) -> Result<Issued, Finding> {
    let check = Check::Credential;
    let mut uris = Vec::new();
    let mut credentials = Vec::new();
    for user in USERS {
        let reply = http.post("/v1/turn/credentials", &json!({ "user": user })).await;
        let reply = reply.map_err(|why| check.failure(format!("the API gives none: {why}")))?;
        let mend = match reply.status {
            201 => None,
            401 => Some("the API key is not taken; `iceway api-keys list` shows which are"),
            403 => Some("the key needs the scope issue"),
            _ => Some("the server's log says more"),
        };
        if let Some(mend) = mend {
            return Err(check.failure(format!("the API gives none: {}", reply.problem())).mend(mend));
        }
        let value = reply.json();
        for server in value.get("iceServers").and_then(Value::as_array).into_iter().flatten() {
            let urls = server.get("urls").and_then(Value::as_array).into_iter().flatten();
            for url in urls.filter_map(Value::as_str) {
                if !uris.iter().any(|known| known == url) {
                    uris.push(url.to_owned());
                }
            }
            credentials.extend(credential(server));
        }
    }
    match <[Credential; 2]>::try_from(credentials) {
        Ok(credentials) => Ok(Issued { credentials, uris }),
        Err(_) => {
            Err(check.failure("the API answers without a credential").mend("is this iceway's HTTP listener?"))
        }
    }
}

fn credential(server: &Value) -> Option<Credential> {
    let text = |name: &str| server.get(name).and_then(Value::as_str);
    Some(Credential {
        username: text("username")?.to_owned(),
        password: Zeroizing::new(text("credential")?.to_owned()),
    })
}
