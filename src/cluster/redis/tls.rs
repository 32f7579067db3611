//! The certificates of connections to Redis.

use std::{path::PathBuf, sync::Arc};

use hyper_rustls::ConfigBuilderExt as _;
use redis::{ClientTlsConfig, ErrorKind, RedisError, TlsCertificates};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use crate::{cluster::OpenError, config};

/// No certificate, key or list of authorities is larger.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// What `rediss://` needs, as it was read at the start.
pub(super) struct Certificates {
    authority: Option<Vec<u8>>,
    /// Certificate and key of this node.
    own: Option<(Vec<u8>, Vec<u8>)>,
    /// Made when it is first needed.
    config: std::sync::OnceLock<Arc<ClientConfig>>,
}

impl Certificates {
    /// `None` if the connection is not encrypted.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn read(config: &config::Redis, is_encrypted: bool) -> Result<Option<Self>, OpenError> {
        let read = |key: &str, path: &PathBuf| {
            let read = config::read_file(path, FILE_BYTES_MAX);
            // The library wants to have them.
            read.map(|bytes| bytes.to_vec())
                .map_err(|error| OpenError::Peers(format!("{key} = {} {error}", path.display())))
        };
        let own = match (&config.certificate, &config.private_key) {
            (Some(certificate), Some(key)) => {
                Some((read("redis.certificate", certificate)?, read("redis.private_key", key)?))
            }
            _ => None,
        };
        let authority = config.ca_file.as_ref().map(|path| read("redis.ca_file", path)).transpose()?;
        Ok(is_encrypted.then(|| Self { authority, own, config: std::sync::OnceLock::new() }))
    }

    /// For connections that are made here.
    ///
    /// # Errors
    /// A certificate or the key is none.
    pub(super) fn config(&self) -> Result<Arc<ClientConfig>, RedisError> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.build()?);
        Ok(Arc::clone(self.config.get_or_init(|| config)))
    }

    fn build(&self) -> Result<ClientConfig, RedisError> {
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable("TLS", &error))?;
        let builder = match &self.authority {
            Some(pem) => builder.with_root_certificates(roots(pem)?),
            None => builder.with_native_roots()?,
        };
        let Some((certificate, key)) = &self.own else { return Ok(builder.with_no_client_auth()) };
        let chain = certificates(certificate).map_err(|error| unusable("redis.certificate", &error))?;
        let key =
            PrivateKeyDer::from_pem_slice(key).map_err(|error| unusable("redis.private_key", &error))?;
        builder.with_client_auth_cert(chain, key).map_err(|error| unusable("redis.private_key", &error))
    }

    /// For those that the library makes.
    pub(super) fn of_library(&self) -> Option<TlsCertificates> {
        let client_tls =
            self.own.clone().map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
        let root_cert = self.authority.clone();
        (client_tls.is_some() || root_cert.is_some()).then_some(TlsCertificates { client_tls, root_cert })
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, rustls::pki_types::pem::Error> {
    CertificateDer::pem_slice_iter(pem).collect()
}

fn roots(pem: &[u8]) -> Result<RootCertStore, RedisError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem).map_err(|error| unusable("redis.ca_file", &error))? {
        roots.add(certificate).map_err(|error| unusable("redis.ca_file", &error))?;
    }
    if roots.is_empty() {
        return Err(unusable("redis.ca_file", &"it holds no certificate"));
    }
    Ok(roots)
}

fn unusable(key: &'static str, why: &impl ToString) -> RedisError {
    RedisError::from((ErrorKind::InvalidClientConfig, key, why.to_string()))
}
