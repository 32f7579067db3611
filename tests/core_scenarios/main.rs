//! Scenarios of the core under virtual time: inputs at instants, exact outputs.

// What a helper does not expect fails the test that called it.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, clippy::print_stdout)]

#[path = "../support_core/mod.rs"]
mod support_core;

mod allocate;
mod authentication;
mod claims;
mod drain;
mod history;
mod identity;
mod life;
mod limits;
mod peers;
mod readdress;
mod refresh;
mod relay;
mod revocation;
