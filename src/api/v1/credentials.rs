//! `POST /v1/turn/credentials`: credentials for a user, asked for by a backend.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    fields::Faults,
    issue::{Issued, Order, Routes},
};
use crate::{
    api::{
        body::{Created, Json, Whole},
        caller::Caller,
        problem::{
            CLIENT_IP_INVALID, COUNT_OUT_OF_RANGE, EXPIRY_INVALID, FAMILIES_INVALID, LABEL_INVALID,
            NO_CAPACITY, NO_SECRET, NO_URI, Problem, ProblemKind, QUOTA_INVALID, REGION_INVALID,
            TRANSPORTS_INVALID, TTL_OUT_OF_RANGE, USER_INVALID,
        },
        service::{Dialect, Service},
        utc::rfc3339,
    },
    cluster::Scope,
    turn,
};

/// Clients should have new credentials after four fifths of their life.
const REFRESH_AFTER_PERCENT: u64 = 80;

/// What `POST /v1/turn/credentials` refuses by itself.
pub(crate) const ISSUE_PROBLEMS: &[ProblemKind] = &[
    USER_INVALID,
    TTL_OUT_OF_RANGE,
    LABEL_INVALID,
    REGION_INVALID,
    CLIENT_IP_INVALID,
    TRANSPORTS_INVALID,
    FAMILIES_INVALID,
    COUNT_OUT_OF_RANGE,
    QUOTA_INVALID,
    EXPIRY_INVALID,
    NO_URI,
    NO_CAPACITY,
    NO_SECRET,
];

/// For whom credentials are wanted, and which.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CredentialsRequest {
    /// Whose they are: 1 to 256 bytes without control characters. Clients and the network see it.
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$", example = "u-123")]
    user: String,
    /// How long they are valid, in seconds. The bounds are those of `credentials.ttl_min` and `credentials.ttl_max`.
    #[schema(value_type = Option<i64>, minimum = 60, maximum = 86400, default = 3600)]
    ttl: Option<Whole>,
    /// What they are for; clients with the same label meet at the same node when that is possible.
    #[schema(min_length = 1, max_length = 64, pattern = r"^[A-Za-z0-9._:@/+=-]+$", example = "call:c_01J")]
    label: Option<String>,
    /// Only nodes of this region.
    #[schema(min_length = 1, max_length = 64, pattern = r"^[A-Za-z0-9._-]+$", example = "eu")]
    region: Option<String>,
    /// The client's address: URIs of its address family come first.
    #[schema(value_type = Option<String>, example = "203.0.113.7")]
    client_ip: Option<String>,
    /// The transports between client and server that are wanted; all unless named.
    #[schema(value_type = Option<Vec<TransportName>>, min_items = 1, max_items = 8)]
    transports: Option<Vec<String>>,
    /// The address families that are wanted; all unless named. Host names are of both.
    #[schema(value_type = Option<Vec<FamilyName>>, min_items = 1, max_items = 8)]
    families: Option<Vec<String>>,
    /// How many different nodes; fewer are named if there are no more that fit.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 8, default = 1)]
    count: Option<Whole>,
    /// The quota class, of `limits.classes`.
    #[schema(min_length = 1, max_length = 32, pattern = "^[a-z0-9_-]+$", example = "std")]
    quota: Option<String>,
    /// What the end of the credentials means for a call that is up; as configured unless named.
    #[schema(value_type = Option<ExpiryName>)]
    expiry: Option<String>,
    /// Whether the client shall connect through the relay alone.
    #[schema(default = false)]
    relay_only: Option<bool>,
}

/// A transport between client and server.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[allow(dead_code, reason = "describes what is read as text, so that faults get codes of their own")]
pub(crate) enum TransportName {
    Udp,
    Tcp,
    Tls,
}

/// An address family.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[allow(dead_code, reason = "describes what is read as text, so that faults get codes of their own")]
pub(crate) enum FamilyName {
    Ipv4,
    Ipv6,
}

/// `allocate`: no new allocations; `refresh`: no refresh either; `strict`: the allocation ends.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[allow(dead_code, reason = "describes what is read as text, so that faults get codes of their own")]
pub(crate) enum ExpiryName {
    Allocate,
    Refresh,
    Strict,
}

/// Credentials; `iceServers` and `iceTransportPolicy` are members of an `RTCConfiguration`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CredentialsAnswer {
    /// Names this answer, for logs.
    id: String,
    /// For `RTCPeerConnection`.
    ice_servers: Vec<IceServer>,
    /// `all`, or `relay` if only the relay shall be used.
    ice_transport_policy: Policy,
    /// How long the credentials are valid, in seconds.
    ttl: u64,
    /// When they end (RFC 3339).
    #[schema(format = DateTime)]
    expires_at: String,
    /// When to fetch new ones, in seconds from now.
    refresh_after: u64,
    /// The secret they were made with.
    kid: String,
    /// The nodes they name, the best first.
    nodes: Vec<NodeName>,
}

/// One entry of `iceServers`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IceServer {
    pub(crate) urls: Vec<String>,
    /// Absent for `stun:`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) username: Option<String>,
    /// Absent for `stun:`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) credential: Option<String>,
}

/// Which candidates a client uses.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Policy {
    All,
    Relay,
}

/// A node.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NodeName {
    id: String,
    region: String,
}

/// Makes credentials for a user.
#[utoipa::path(
    post,
    path = "/v1/turn/credentials",
    tag = "credentials",
    request_body = CredentialsRequest,
    responses((status = 201, description = "The credentials.", body = CredentialsAnswer))
)]
pub(crate) async fn issue_credentials(
    State(service): State<Service>,
    caller: Caller,
    Json(request): Json<CredentialsRequest>,
) -> Result<Created<CredentialsAnswer>, Problem> {
    caller.require(Scope::Issue)?;
    let settings = service.settings.load();
    let order = request.check(&settings.config.credentials)?;
    service.access.count_user(order.user).await?;
    let issued = service.issue(&order, &settings)?;
    let relay_only = request.relay_only == Some(true);
    let id = service.random();
    Ok(Created(CredentialsAnswer::new(id, issued, order.ttl.as_secs(), relay_only)))
}

impl CredentialsRequest {
    fn check(&self, bounds: &crate::config::Credentials) -> Result<Order<'_>, Problem> {
        let mut faults = Faults::default();
        faults.user("/user", &self.user);
        let ttl = faults.ttl("/ttl", self.ttl.map(|it| it.0), bounds);
        let mut order = Order::new(Dialect::Native, &self.user, ttl);
        faults.label("/label", self.label.as_deref());
        faults.region("/region", self.region.as_deref());
        faults.quota("/quota", self.quota.as_deref());
        order.client = faults.client_ip("/clientIp", self.client_ip.as_deref());
        order.count = faults.count("/count", self.count.map(|it| it.0));
        order.expiry = faults.expiry("/expiry", self.expiry.as_deref());
        let mut routes = Routes { stun: self.relay_only != Some(true), ..Routes::ALL };
        faults.routes(self.transports.as_deref(), self.families.as_deref(), &mut routes);
        faults.result()?;
        order.routes = routes;
        order.label = self.label.as_deref();
        order.region = self.region.as_deref();
        order.class = self.quota.as_deref();
        Ok(order)
    }
}

impl CredentialsAnswer {
    pub(crate) fn new(id: u64, issued: Issued, ttl: u64, relay_only: bool) -> Self {
        let expires_at = rfc3339(issued.credential.expires);
        let kid = issued.credential.key_id.as_str().to_owned();
        let nodes =
            issued.nodes.iter().map(|(id, region)| NodeName { id: id.clone(), region: region.clone() });
        Self {
            id: format!("tc_{id:016x}"),
            ice_transport_policy: if relay_only { Policy::Relay } else { Policy::All },
            ttl,
            expires_at,
            refresh_after: ttl * REFRESH_AFTER_PERCENT / 100,
            kid,
            nodes: nodes.collect(),
            ice_servers: ice_servers(issued),
        }
    }
}

/// `stun:` in an entry of its own: with a username it would be refused by nobody, and tells it to whoever listens.
pub(crate) fn ice_servers(issued: Issued) -> Vec<IceServer> {
    let Issued { credential, stun, turn, .. } = issued;
    let plain = (!stun.is_empty()).then_some(IceServer { urls: stun, username: None, credential: None });
    let relay = IceServer {
        urls: turn,
        username: Some(credential.username),
        credential: Some(credential.password.as_str().to_owned()),
    };
    plain.into_iter().chain([relay]).collect()
}

const _: () = assert!(turn::Transport::ALL.len() == 3, "TransportName names every transport");
