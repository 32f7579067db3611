//! The forms in which other software asks for credentials.

pub(crate) mod cloudflare;
pub(crate) mod uberti;
