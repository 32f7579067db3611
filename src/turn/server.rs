//! The relay core.

/// The relay of one thread.
#[derive(Debug)]
pub struct Server {}
