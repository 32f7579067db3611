//! The certificate of the TLS listeners: read, checked, watched and replaced while connections run.

mod error;
#[cfg(test)]
pub(crate) mod fixture;
mod names;
mod store;
mod validity;
mod watch;

pub use error::TlsError;
pub(crate) use names::alternative_names;
pub use store::CertificateStatus;
pub(crate) use store::TlsStore;
pub(crate) use validity::validity;
pub(crate) use watch::watch;

/// Reads the configured certificate and private key as a node would: its dates, or `None` if there is none configured.
///
/// # Errors
/// See [`TlsError`].
pub fn check_certificate(config: &crate::config::Tls) -> Result<Option<CertificateStatus>, TlsError> {
    Ok(TlsStore::load(config)?.map(|store| store.status()))
}
