//! What the black-box tests share: the server under test, the tools beside it, and small clients of our own.

pub(crate) mod certificates;
pub(crate) mod client;
pub(crate) mod http;
pub(crate) mod media;
pub(crate) mod namespace;
pub(crate) mod nodes;
pub(crate) mod ports;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod server;

pub(crate) use certificates::Authority;
pub(crate) use client::Client;
pub(crate) use http::Http;
pub(crate) use media::Media;
pub(crate) use process::{Process, Tool};
pub(crate) use server::{Server, Setup};
