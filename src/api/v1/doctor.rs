//! `/v1/doctor`: what the node finds when it looks at itself.

use axum::{extract::State, http::request::Parts};

use crate::{
    api::{
        body::Answer,
        caller::Caller,
        doctor::DoctorReport,
        problem::{NOT_READY, Problem, ProblemKind},
        service::Service,
        web,
    },
    cluster::Scope,
};

/// What `GET /v1/doctor` refuses by itself.
pub(crate) const DOCTOR_PROBLEMS: &[ProblemKind] = &[NOT_READY];

/// Has this node look at itself, as `iceway doctor` does on its machine: what is wrong, and how to mend it. Each transport
/// is tried with allocations that exchange packets, so it takes a second or more; those who ask meanwhile share one
/// report. Nothing is changed. A bare start answers the built-in page on the same machine without a key.
#[utoipa::path(
    get,
    path = "/v1/doctor",
    tag = "nodes",
    responses((status = 200, description = "What was found, whether or not it is good.", body = DoctorReport))
)]
pub(crate) async fn examine(
    State(service): State<Service>,
    caller: Result<Caller, Problem>,
    parts: Parts,
) -> Result<Answer<DoctorReport>, Problem> {
    if !web::is_trial_page(&service, &parts) {
        caller?.require(Scope::Admin)?;
    }
    service.examine().await.map(Answer)
}
