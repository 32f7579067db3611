//! Scenarios of the signaling relay under virtual time.

#![allow(clippy::unwrap_used)]

#[path = "../signal_support_core/mod.rs"]
mod support;

mod messages;
mod resume;
mod rooms;
