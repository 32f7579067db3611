//! TLS as a client sees it: every handshake succeeds, and what a strict client would have said is kept.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, anyhow};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::api::authorities::read_authorities;

/// The authorities that certificates are judged by.
#[derive(Clone)]
pub(super) struct Authorities {
    verifier: Arc<WebPkiServerVerifier>,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl Authorities {
    /// Those of the system, or of a file.
    ///
    /// # Errors
    /// There are none.
    pub(super) fn read(file: Option<&Path>) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        match file {
            Some(path) => {
                roots = read_authorities(path).context("--ca-file")?;
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
            }
        }
        let roots = Arc::new(roots);
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
            .build()
            .map_err(|_| {
                anyhow!("no certificate authority is known here; install ca-certificates, or name --ca-file")
            })?;
        Ok(Self { verifier, roots, provider })
    }

    /// What a client says to this chain at this time.
    pub(super) fn judge(&self, chain: &[CertificateDer<'_>], host: &str, now: UnixTime) -> Verdict {
        let Some((leaf, rest)) = chain.split_first() else {
            return Verdict::Other("there is no certificate".to_owned());
        };
        let Ok(name) = ServerName::try_from(host) else { return Verdict::Name };
        match self.verifier.verify_server_cert(leaf, rest, &name, &[], now) {
            Ok(_) => Verdict::Good,
            Err(error) => Verdict::of(&error),
        }
    }

    /// For connections that nothing wrong may pass.
    pub(super) fn strict(&self) -> anyhow::Result<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider));
        let builder = builder.with_safe_default_protocol_versions()?;
        Ok(builder.with_root_certificates(Arc::clone(&self.roots)).with_no_client_auth())
    }
}

impl Authorities {
    /// For connections in clear text: no certificate would be good.
    pub(super) fn none() -> anyhow::Result<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions()?;
        Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
    }
}

/// What a strict client says to a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Good,
    Expired,
    NotYetValid,
    /// It is for other names.
    Name,
    /// No authority that is known here made it, or a link of the chain is missing.
    Issuer,
    Other(String),
}

impl Verdict {
    fn of(error: &Error) -> Self {
        let Error::InvalidCertificate(fault) = error else { return Self::Other(error.to_string()) };
        if matches!(fault, CertificateError::Expired | CertificateError::ExpiredContext { .. }) {
            return Self::Expired;
        }
        if matches!(fault, CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) {
            return Self::NotYetValid;
        }
        if matches!(
            fault,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
        ) {
            return Self::Name;
        }
        if *fault == CertificateError::UnknownIssuer {
            return Self::Issuer;
        }
        Self::Other(error.to_string())
    }
}

/// What servers showed.
#[derive(Clone)]
pub(super) struct Observed {
    authorities: Authorities,
    seen: Arc<Mutex<Option<Vec<CertificateDer<'static>>>>>,
}

impl Observed {
    pub(super) fn new(authorities: Authorities) -> Self {
        Self { authorities, seen: Arc::default() }
    }

    /// The chain that was shown last.
    pub(super) fn chain(&self) -> Option<Vec<CertificateDer<'static>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn authorities(&self) -> &Authorities {
        &self.authorities
    }

    /// Begins a handshake.
    ///
    /// # Errors
    /// The host is no name that a server could be asked for.
    pub(super) fn handshake(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<impl Future<Output = std::io::Result<TlsStream<TcpStream>>> + use<>, String> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| format!("{host} is no host name"))?;
        let provider = Arc::clone(&self.authorities.provider);
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| error.to_string())?;
        let config = builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Witness(self.clone())))
            .with_no_client_auth();
        Ok(TlsConnector::from(Arc::new(config)).connect(name, stream))
    }
}

/// Takes every certificate and keeps it. No secret goes over such a connection: a TURN client proves that it knows the
/// password without sending it.
struct Witness(Observed);

impl std::fmt::Debug for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Witness")
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = std::iter::once(end_entity).chain(intermediates);
        let chain = chain.map(|certificate| certificate.clone().into_owned()).collect();
        *self.0.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(chain);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms().supported_schemes()
    }
}

impl Witness {
    fn algorithms(&self) -> rustls::crypto::WebPkiSupportedAlgorithms {
        self.0.authorities.provider.signature_verification_algorithms
    }
}
