//! HTTP: `/metrics`, `/healthz`, `/readyz`.
//!
//! Runs in a thread and runtime of its own, so that no scrape disturbs a shard. No authentication and no encryption:
//! it is meant for loopback or a private network.

mod body;
mod caller;
mod choice;
mod cluster_metrics;
mod cors;
mod counters;
mod dialects;
mod exchange;
mod forwarded;
mod health;
pub mod ice_servers;
mod idempotency;
mod metrics;
mod openapi;
mod problem;
mod query;
mod routes;
mod server;
mod service;
pub(crate) mod utc;
mod v1;

pub use caller::{Access, AccessError};
pub use cluster_metrics::ClusterFigures;
pub use counters::{ApiCounters, ApiCounts, AuthenticationFailure, JwksRefresh, RouteGroup, StatusClass};
pub use metrics::{Scrape, exposition};
pub use problem::{FieldError, PROBLEMS, Problem, ProblemKind};
pub use routes::{openapi, router};
pub use server::{HttpServer, serve};
pub use service::{Dialect, Service, ServiceState, Settings};
