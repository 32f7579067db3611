//! `/v1/usage`: who relayed how much.

use axum::extract::State;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{allocations::page_of, answers::NodeFault, fields::page_limit};
use crate::{
    api::{
        body::{Answer, Json},
        caller::Caller,
        problem::{CURSOR_INVALID, NODE_SILENT, PARAMETER_INVALID, Problem, ProblemKind, STORE_FAILED},
        query::Query,
        service::{Service, unix_seconds},
        utc::{date, days},
    },
    cluster::{
        AllocationQuery, RequestError, Scope, UsageError, UsageOf, UsageQuery, UsageRecord, UsageTotals,
    },
};

/// Allocations are asked for in pages of so many.
const PAGE: u32 = 1000;
/// The most pages of one node: as many allocations as one can hold, and an end if one never ends.
const PAGES_MAX: u32 = 1000;
/// The longest cursor.
const CURSOR_BYTES_MAX: usize = 128;
const DAY: u64 = 86_400;

/// What these endpoints refuse by themselves.
pub(crate) const USAGE_PROBLEMS: &[ProblemKind] = &[NODE_SILENT, STORE_FAILED];
/// What those with a cursor refuse beside that.
pub(crate) const RECORDS_PROBLEMS: &[ProblemKind] = &[CURSOR_INVALID];

/// Whose usage, and when.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UsageParameters {
    /// One user's; everybody's if neither user nor label is given.
    user: Option<String>,
    /// What carries one label.
    label: Option<String>,
    /// The first day (UTC), such as 2026-11-01; today unless given. Totals are kept for `usage.days`.
    #[param(format = Date, pattern = r"^(19[7-9]|[2-9]\d\d)\d-\d\d-\d\d$")]
    from: Option<String>,
    /// The last day (UTC), included; today unless given.
    #[param(format = Date, pattern = r"^(19[7-9]|[2-9]\d\d)\d-\d\d-\d\d$")]
    to: Option<String>,
}

/// Who relayed how much.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UsageAnswer {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    /// The first day.
    from: String,
    /// The last day, included.
    to: String,
    /// The sum of the allocations that ended on these days.
    ended: UsageTotals,
    /// The sum so far of those that are up now.
    live: UsageTotals,
    /// Nodes that did not answer: their live allocations are missing.
    unanswered: Vec<NodeFault>,
}

/// Which records.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RecordsQuery {
    /// The cursor of the last record that was read before.
    #[param(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9._:-]+$")]
    after: Option<String>,
    /// How many; 100 unless given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Ended allocations, one record each, the oldest first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RecordsAnswer {
    records: Vec<RecordView>,
    /// Whether there are more after the last one.
    has_more: bool,
}

/// A record with its place.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RecordView {
    /// Names its place: for `after`, and to acknowledge it.
    cursor: String,
    #[serde(flatten)]
    record: UsageRecord,
}

/// Which records have been taken.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct AcknowledgeRequest {
    /// The cursor of the last one; those before it are taken too.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9._:-]+$")]
    up_to: String,
}

/// How many records were removed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AcknowledgeAnswer {
    acknowledged: u64,
}

/// The sums of a user, a label or everybody: what ended on some days, and what is up now.
#[utoipa::path(
    get,
    path = "/v1/usage",
    tag = "usage",
    params(UsageParameters),
    responses((status = 200, description = "The sums.", body = UsageAnswer))
)]
pub(crate) async fn usage(
    State(service): State<Service>,
    caller: Caller,
    Query(query): Query<UsageParameters>,
) -> Result<Answer<UsageAnswer>, Problem> {
    caller.require(Scope::Read)?;
    let now = unix_seconds();
    let (from, to) = period(&query, now / DAY)?;
    let of = match (&query.user, &query.label) {
        (None, None) => UsageOf::Everybody,
        (Some(user), None) => UsageOf::User(user.clone()),
        (None, Some(label)) => UsageOf::Label(label.clone()),
        (Some(_), Some(_)) => {
            return Err(PARAMETER_INVALID.problem().at("/label", "cannot be combined with user"));
        }
    };
    let day = |days: u64| u32::try_from(days).unwrap_or(u32::MAX);
    let wanted = UsageQuery { of, from_day: day(from), to_day: day(to) };
    let ended = service.cluster.usage_totals(wanted).await.map_err(|error| failed(&error, "/after"))?;
    let known = service.cluster.nodes();
    let sums = known.list.iter().map(|node| live_on(&service, &node.id, &query, now));
    let (mut live, mut unanswered) = (UsageTotals::default(), Vec::new());
    for (node, sum) in known.list.iter().zip(join_all(sums).await) {
        match sum {
            Ok(sum) => live.merge(&sum),
            Err(error) => unanswered.push(NodeFault::new(node.id.as_str(), &error)),
        }
    }
    let UsageParameters { user, label, .. } = query;
    Ok(Answer(UsageAnswer { user, label, from: date(from), to: date(to), ended, live, unanswered }))
}

/// Ended allocations, for billing: kept until they are acknowledged.
#[utoipa::path(
    get,
    path = "/v1/usage/records",
    tag = "usage",
    params(RecordsQuery),
    responses((status = 200, description = "Some of them.", body = RecordsAnswer))
)]
pub(crate) async fn usage_records(
    State(service): State<Service>,
    caller: Caller,
    Query(query): Query<RecordsQuery>,
) -> Result<Answer<RecordsAnswer>, Problem> {
    caller.require(Scope::Read)?;
    let limit = u32::try_from(page_limit(query.limit)?).unwrap_or(PAGE);
    let after = query.after.as_deref();
    if let Some(cursor) = after {
        check_cursor(cursor, "/after")?;
    }
    let page = service.cluster.usage_records(after, limit).await.map_err(|error| failed(&error, "/after"))?;
    let records = page.records.into_iter().map(|(cursor, record)| RecordView { cursor, record }).collect();
    Ok(Answer(RecordsAnswer { records, has_more: page.has_more }))
}

/// Removes the records that have been taken. The sums stay.
#[utoipa::path(
    post,
    path = "/v1/usage/records/acknowledge",
    tag = "usage",
    request_body = AcknowledgeRequest,
    responses((status = 200, description = "How many were removed.", body = AcknowledgeAnswer))
)]
pub(crate) async fn acknowledge_records(
    State(service): State<Service>,
    caller: Caller,
    Json(request): Json<AcknowledgeRequest>,
) -> Result<Answer<AcknowledgeAnswer>, Problem> {
    caller.require(Scope::Admin)?;
    check_cursor(&request.up_to, "/upTo")?;
    let acknowledged =
        service.cluster.acknowledge_usage(&request.up_to).await.map_err(|error| failed(&error, "/upTo"))?;
    Ok(Answer(AcknowledgeAnswer { acknowledged }))
}

fn period(query: &UsageParameters, today: u64) -> Result<(u64, u64), Problem> {
    let read = |text: &Option<String>, pointer: &'static str| match text.as_deref().map(days) {
        None => Ok(today),
        Some(Some(day)) => Ok(day),
        Some(None) => Err(PARAMETER_INVALID.problem().at(pointer, "must be a day such as 2026-11-22")),
    };
    let (from, to) = (read(&query.from, "/from")?, read(&query.to, "/to")?);
    if from > to {
        return Err(PARAMETER_INVALID.problem().at("/from", "must not be after to"));
    }
    Ok((from, to))
}

/// The sum so far of what is up on a node.
async fn live_on(
    service: &Service,
    node: &str,
    query: &UsageParameters,
    now: u64,
) -> Result<UsageTotals, RequestError> {
    let mut sum = UsageTotals::default();
    let mut after = None;
    for _ in 0..PAGES_MAX {
        let wanted =
            AllocationQuery { user: query.user.clone(), label: query.label.clone(), after, limit: PAGE };
        let page = page_of(service, node, wanted).await?;
        for allocation in &page.allocations {
            sum.merge(&UsageTotals {
                allocations: 1,
                seconds: now.saturating_sub(allocation.created),
                sent_bytes: allocation.sent_bytes,
                received_bytes: allocation.received_bytes,
            });
        }
        after = page.allocations.last().map(|last| last.id.clone());
        if !page.has_more || after.is_none() {
            break;
        }
    }
    Ok(sum)
}

fn check_cursor(cursor: &str, pointer: &'static str) -> Result<(), Problem> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    if (1..=CURSOR_BYTES_MAX).contains(&cursor.len()) && cursor.bytes().all(allowed) {
        return Ok(());
    }
    Err(CURSOR_INVALID.problem().at(pointer, "does not come from a record"))
}

fn failed(error: &UsageError, pointer: &'static str) -> Problem {
    match error {
        UsageError::Cursor(_) => CURSOR_INVALID.problem().at(pointer, "does not come from a record"),
        UsageError::Peers(error) => NODE_SILENT.with(error.to_string()),
        UsageError::Store(error) => {
            tracing::error!(%error, "The usage cannot be read.");
            STORE_FAILED.into()
        }
    }
}
