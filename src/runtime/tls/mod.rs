//! The certificate of the TLS listeners: read, checked, watched and replaced while connections run.

mod error;
#[cfg(test)]
pub(crate) mod fixture;
mod store;
mod validity;
mod watch;

pub use error::TlsError;
pub use store::CertificateStatus;
pub(crate) use store::TlsStore;
pub(crate) use watch::watch;
