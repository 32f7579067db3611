//! What the core counts: plain integers, read by whoever owns the [`Server`](super::Server).

/// Counters of one [`Server`](super::Server).
#[derive(Clone, Debug, Default)]
pub struct Counters {}
