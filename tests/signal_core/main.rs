//! Scenarios of the signaling relay under virtual time.

#![allow(clippy::unwrap_used)]

#[path = "../signal_support_core/mod.rs"]
mod support;

mod hello;
mod life;
mod limits;
mod messages;
mod model;
mod presence;
mod resume;
mod rooms;
