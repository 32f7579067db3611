//! HTTP: credentials, administration, `/metrics`, `/healthz`, `/readyz`; over TLS where there is a certificate.
//!
//! Runs in threads and runtimes of its own, so that no request disturbs a shard. A request passes the listener
//! (`server`), which bounds it and finds out where it comes from, then its handler, which asks for a `Caller` and the
//! scope it needs.

mod asyncapi;
pub(crate) mod authorities;
mod body;
mod call_metrics;
mod caller;
mod choice;
mod cluster_metrics;
mod cors;
mod counters;
mod dialects;
mod doctor;
mod drain;
mod exchange;
mod forwarded;
mod health;
pub mod ice_servers;
mod idempotency;
mod metrics;
mod openapi;
mod problem;
mod quality_metrics;
mod query;
mod reload;
mod routes;
mod server;
mod service;
mod signal;
pub(crate) mod utc;
mod v1;
mod web;
mod webhooks;

pub use asyncapi::{asyncapi, check_frame, frame_types, schemas};
pub use caller::{Access, AccessError};
pub use cluster_metrics::ClusterFigures;
pub use counters::{
    ApiCounters, ApiCounts, AuthenticationFailure, DecisionResult, JwksRefresh, RouteGroup, StatusClass,
};
pub use doctor::{DoctorCounts, DoctorLine, DoctorOrder, DoctorReport, EXAMINATION_TIME_MAX};
pub use metrics::{Scrape, exposition};
pub use problem::{FieldError, PROBLEMS, Problem, ProblemKind};
pub use reload::{ReloadFault, ReloadOrder, ReloadReport};
pub use routes::{openapi, router};
pub use server::{
    ControlError, ControlListener, ControlServer, HttpServer, HttpThreads, Within, serve, serve_control,
};
pub use service::{Dialect, Service, ServiceState, Settings};
pub use signal::SignalCounts;
pub(crate) use v1::explain::{Circumstances, explain};
pub use web::{TRIAL_AUDIENCE, TRIAL_ISSUER};
pub use webhooks::{WebhookFigures, WebhookSender, deliver};
