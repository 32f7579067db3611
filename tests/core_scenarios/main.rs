//! Scenarios of the core under virtual time: inputs at instants, exact outputs.

#[path = "../support_core/mod.rs"]
mod support_core;

mod allocate;
mod authentication;
mod life;
mod limits;
mod peers;
mod refresh;
mod relay;
