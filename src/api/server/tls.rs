//! HTTPS, with the certificate of the relay.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::{
    ServerConfig,
    crypto::ring,
    server::{NoServerSessionStorage, danger::ClientCertVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
};

use crate::runtime::TlsStore;

/// The only protocol that is spoken.
const PROTOCOL: &[u8] = b"http/1.1";

/// Makes what TLS sessions are made from: anew whenever the certificate or the authorities of clients are replaced.
#[derive(Debug)]
pub(super) struct HttpTls {
    store: Arc<TlsStore>,
    made: Mutex<Option<Made>>,
}

#[derive(Debug)]
struct Made {
    certified: Arc<CertifiedKey>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    config: Arc<ServerConfig>,
}

impl HttpTls {
    pub(super) const fn new(store: Arc<TlsStore>) -> Self {
        Self { store, made: Mutex::new(None) }
    }

    /// What a new session is made from.
    ///
    /// # Errors
    /// The TLS library refuses to work.
    pub(super) fn config(
        &self,
        verifier: Option<&Arc<dyn ClientCertVerifier>>,
    ) -> Result<Arc<ServerConfig>, rustls::Error> {
        let certified = self.store.certified();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = made.as_ref().filter(|made| made.is_of(&certified, verifier)) {
            return Ok(Arc::clone(&made.config));
        }
        let config = Arc::new(server_config(&certified, verifier)?);
        *made = Some(Made { certified, verifier: verifier.cloned(), config: Arc::clone(&config) });
        Ok(config)
    }
}

impl Made {
    fn is_of(&self, certified: &Arc<CertifiedKey>, verifier: Option<&Arc<dyn ClientCertVerifier>>) -> bool {
        let same_verifier = match (&self.verifier, verifier) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, Some(_)) | (Some(_), None) => false,
        };
        same_verifier && Arc::ptr_eq(&self.certified, certified)
    }
}

fn server_config(
    certified: &CertifiedKey,
    verifier: Option<&Arc<dyn ClientCertVerifier>>,
) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified.clone())));
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    // Tickets alone, with keys that are new with each certificate: nobody resumes past one that was replaced, nor past
    // authorities that were.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = ring::Ticketer::new()?;
    config.send_tls13_tickets = 1;
    Ok(config)
}
