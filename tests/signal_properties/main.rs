//! The signaling relay over generated and mangled input: texts as frames, frames in any order, bytes between nodes, tokens.
//!
//! Longer runs: `PROPTEST_CASES=100000 cargo test --release --test signal_properties`. A failure is told as the smallest
//! input that fails.

#![allow(clippy::unwrap_used)]

mod accounts;
mod frames;
mod links;
mod script;
mod tokens;
mod world;

/// So many, or as many as `PROPTEST_CASES` says.
fn cases(usual: u32) -> proptest::prelude::ProptestConfig {
    let wanted = std::env::var("PROPTEST_CASES").ok().and_then(|count| count.parse().ok());
    proptest::prelude::ProptestConfig::with_cases(wanted.unwrap_or(usual))
}
