//! `/v1/turn/revocations`: credentials that are no longer good.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    answers::NodeFault,
    fields::{Faults, page_limit},
};
use crate::{
    api::{
        body::{Answer, Created, Json, Whole},
        caller::Caller,
        problem::{
            LABEL_INVALID, Problem, ProblemKind, REVOCATION_EMPTY, REVOCATION_INVALID, REVOCATIONS_FULL,
            STORE_FAILED, USER_INVALID,
        },
        query::Query,
        service::{Service, unix_seconds},
    },
    cluster::{Revoked, Scope, StoreError},
    credentials::{KeyId, Revocation, Revocations, USERNAME_BYTES_MAX, parse_time_limited},
};

/// What `POST /v1/turn/revocations` refuses by itself.
pub(crate) const REVOKE_PROBLEMS: &[ProblemKind] =
    &[REVOCATION_EMPTY, REVOCATION_INVALID, USER_INVALID, LABEL_INVALID, REVOCATIONS_FULL, STORE_FAILED];

/// How far, in seconds, the clock of a node may be ahead of another's: what they tell one another is refused beyond.
const CLOCKS_APART_MAX: u64 = 60;

/// Whom a revocation hits: credentials that agree with every field that is given.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Target {
    /// The whole username, as it was issued.
    #[schema(min_length = 1, max_length = 508, example = "1790003600:u-123")]
    pub(crate) username: Option<String>,
    /// Every credential of this user.
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$", example = "u-123")]
    pub(crate) user: Option<String>,
    /// Every credential with this label.
    #[schema(min_length = 1, max_length = 64, pattern = r"^[A-Za-z0-9._:@/+=-]+$")]
    pub(crate) label: Option<String>,
    /// Every credential made with this secret.
    #[schema(min_length = 1, max_length = 64, pattern = r"^[A-Za-z0-9._-]+$")]
    pub(crate) key_id: Option<String>,
    /// Only those issued at this second since the Unix epoch or before; unless given all so far, those of nodes whose
    /// clocks are up to a minute ahead included. Alone it means everybody.
    #[schema(value_type = Option<u64>)]
    pub(crate) issued_before: Option<Whole>,
    /// Whether live allocations end at once, on every node; else they cannot be refreshed.
    #[schema(default = true)]
    pub(crate) kill: Option<bool>,
}

/// A revocation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RevocationView {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
    /// What was issued at this second since the Unix epoch or before is hit.
    issued_before: u64,
    /// When the last credential it hits has expired and it is forgotten: seconds since the Unix epoch.
    expires: u64,
    /// Whether live allocations end too.
    kill: bool,
}

/// What a revocation led to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RevokedAnswer {
    revocation: RevocationView,
    /// How many live allocations were ended, on all nodes that answered.
    cut: u64,
    /// How many on each node.
    nodes: Vec<NodeCut>,
    /// Nodes that did not answer in time; they take the revocation over as soon as they can be reached.
    unanswered: Vec<NodeFault>,
}

/// What a node did about a revocation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NodeCut {
    id: String,
    cut: u64,
}

/// A page of revocations.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RevocationsPage {
    revocations: Vec<RevocationView>,
    /// Give it as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RevocationsQuery {
    /// `next` of the page before.
    after: Option<String>,
    /// How many; 100 unless given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Revokes credentials and ends their allocations on every node.
#[utoipa::path(
    post,
    path = "/v1/turn/revocations",
    tag = "revocations",
    request_body = Target,
    responses((status = 201, description = "They are revoked.", body = RevokedAnswer))
)]
pub(crate) async fn revoke_credentials(
    State(service): State<Service>,
    caller: Caller,
    Json(target): Json<Target>,
) -> Result<Created<RevokedAnswer>, Problem> {
    caller.require(Scope::Revoke)?;
    let (revocation, revoked) = service.revoke(&target).await?;
    let (mut nodes, mut unanswered) = (Vec::new(), Vec::new());
    for (id, answer) in revoked.nodes {
        match answer {
            Ok(cut) => nodes.push(NodeCut { id, cut }),
            Err(error) => unanswered.push(NodeFault::new(id, &error)),
        }
    }
    let revocation = RevocationView::of(&revocation);
    Ok(Created(RevokedAnswer { revocation, cut: revoked.cut, nodes, unanswered }))
}

/// The revocations in force, in the order of their ids.
#[utoipa::path(
    get,
    path = "/v1/turn/revocations",
    tag = "revocations",
    params(RevocationsQuery),
    responses((status = 200, description = "Some of them.", body = RevocationsPage))
)]
pub(crate) async fn list_revocations(
    State(service): State<Service>,
    caller: Caller,
    Query(query): Query<RevocationsQuery>,
) -> Result<Answer<RevocationsPage>, Problem> {
    caller.require(Scope::Read)?;
    let limit = page_limit(query.limit)?;
    let revocations = service.cluster.revocations();
    let after = query.after.as_deref().unwrap_or_default();
    let mut found: Vec<_> = revocations.iter().filter(|revocation| *revocation.id > *after).collect();
    found.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    let has_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| has_more).map(|last| last.id.to_string());
    let revocations = found.into_iter().map(RevocationView::of).collect();
    Ok(Answer(RevocationsPage { revocations, next }))
}

impl Service {
    /// Revokes what `target` says, everywhere.
    ///
    /// # Errors
    /// 422 for a target that cannot be, 503 `revocations_full` and `store_failed`: then nothing was revoked.
    pub(crate) async fn revoke(&self, target: &Target) -> Result<(Revocation, Revoked), Problem> {
        let ttl_max = self.settings.load().config.credentials.ttl_max.as_secs();
        let separator = self.cluster.directory().separator();
        let now = unix_seconds();
        let so_far = target.so_far(&self.cluster.revocations(), now);
        let revocation = target.check(self.random(), separator, now, so_far, ttl_max)?;
        let revoked = self.cluster.revoke(revocation.clone()).await.map_err(|error| kept(&error))?;
        tracing::info!(revocation = &*revocation.id, cut = revoked.cut, "Credentials were revoked.");
        self.tell_revoked(&revocation);
        Ok((revocation, revoked))
    }
}

fn kept(error: &StoreError) -> Problem {
    match error {
        StoreError::Full(_) => REVOCATIONS_FULL.with(error.to_string()),
        StoreError::Write { .. } | StoreError::Busy | StoreError::Closed => {
            tracing::error!(%error, "A revocation could not be kept.");
            STORE_FAILED.into()
        }
    }
}

impl Target {
    /// The latest time of issue that a credential may say which was made until `now`: by a node whose clock is ahead,
    /// or after an earlier revocation of the same, past which it was dated.
    fn so_far(&self, revocations: &Revocations, now: u64) -> u64 {
        let ahead = now.saturating_add(CLOCKS_APART_MAX);
        let is_same = |earlier: &&Revocation| {
            earlier.issued_before >= ahead
                && earlier.username.is_none()
                && earlier.user.as_deref() == self.user.as_deref()
                && earlier.label.as_deref() == self.label.as_deref()
                && earlier.key_id.as_ref().map(KeyId::as_str) == self.key_id.as_deref()
        };
        let earlier = revocations.iter().filter(is_same).map(|earlier| earlier.issued_before).max();
        earlier.map_or(ahead, |earlier| earlier.saturating_add(1))
    }

    fn check(
        &self,
        id: u64,
        separator: char,
        now: u64,
        so_far: u64,
        ttl_max: u64,
    ) -> Result<Revocation, Problem> {
        let Self { username, user, label, key_id, issued_before, kill } = self;
        if username.is_none()
            && user.is_none()
            && label.is_none()
            && key_id.is_none()
            && issued_before.is_none()
        {
            return Err(REVOCATION_EMPTY.with(
                "Name a username, user, label, keyId or issuedBefore; issuedBefore alone hits everybody.",
            ));
        }
        let mut faults = Faults::default();
        if username.as_ref().is_some_and(|name| name.is_empty() || name.len() > USERNAME_BYTES_MAX) {
            faults.note(REVOCATION_INVALID, "/username", format!("has 1 to {USERNAME_BYTES_MAX} bytes"));
        }
        if let Some(user) = user {
            faults.user("/user", user);
        }
        faults.label("/label", label.as_deref());
        let key = key_id.as_deref().map(KeyId::new).transpose();
        if key.is_err() {
            faults.note(REVOCATION_INVALID, "/keyId", "has 1 to 64 characters of A-Z a-z 0-9 . _ -");
        }
        let given = issued_before.map(|at| u64::try_from(at.0).ok().filter(|at| *at <= now));
        if given == Some(None) {
            faults.note(
                REVOCATION_INVALID,
                "/issuedBefore",
                "must be seconds since the Unix epoch until now",
            );
        }
        faults.result()?;
        // A name says itself when it ends: however long it lives, it is hit, and the revocation outlives it.
        let named = username.as_deref().and_then(|name| parse_time_limited(name, separator));
        let ends = named.map_or(0, |name| name.expires);
        let issued_before = given.flatten().unwrap_or(so_far.max(ends));
        Ok(Revocation {
            id: format!("{now:010}-{id:016x}").into(),
            username: username.as_deref().map(Into::into),
            user: user.as_deref().map(Into::into),
            label: label.as_deref().map(Into::into),
            key_id: key.unwrap_or_default(),
            issued_before,
            expires: issued_before.saturating_add(ttl_max).max(ends),
            cut: *kill != Some(false),
        })
    }
}

impl RevocationView {
    fn of(revocation: &Revocation) -> Self {
        let text = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
        Self {
            id: revocation.id.to_string(),
            username: text(&revocation.username),
            user: text(&revocation.user),
            label: text(&revocation.label),
            key_id: revocation.key_id.as_ref().map(ToString::to_string),
            issued_before: revocation.issued_before,
            expires: revocation.expires,
            kill: revocation.cut,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_000;

    fn of_user(user: &str) -> Target {
        Target { user: Some(user.to_owned()), ..Target::default() }
    }

    fn revoked(target: &Target, earlier: &[Revocation]) -> Revocation {
        let so_far = target.so_far(&Revocations::new(earlier.iter().cloned()), NOW);
        target.check(1, ':', NOW, so_far, 3600).unwrap_or_else(|problem| panic!("{problem:?}"))
    }

    #[test]
    fn credentials_of_nodes_whose_clocks_are_ahead_are_hit() {
        assert_eq!(revoked(&of_user("bob"), &[]).issued_before, NOW + CLOCKS_APART_MAX);
    }

    #[test]
    fn what_was_issued_past_an_earlier_revocation_is_hit_by_the_next() {
        let first = revoked(&of_user("bob"), &[]);
        let second = revoked(&of_user("bob"), std::slice::from_ref(&first));
        assert_eq!(second.issued_before, first.issued_before + 1);
        let of_eve = revoked(&of_user("eve"), &[first, second]);
        assert_eq!(of_eve.issued_before, NOW + CLOCKS_APART_MAX, "others' revocations do not add up");
    }

    #[test]
    fn a_time_that_is_given_is_taken_as_it_is() {
        let target = Target {
            issued_before: Some(Whole(i64::try_from(NOW - 5).unwrap_or_default())),
            ..of_user("bob")
        };
        assert_eq!(revoked(&target, &[]).issued_before, NOW - 5);
    }
}
