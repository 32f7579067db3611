//! An authority of the test's own, with servers and clients that it vouches for.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};

pub(crate) struct Authority {
    certificate: rcgen::Certificate,
    parameters: CertificateParams,
    key: KeyPair,
}

/// A certificate with its key.
pub(crate) struct Issued {
    pub(crate) certificate: rcgen::Certificate,
    pub(crate) key: KeyPair,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = parameters.self_signed(&key).unwrap();
        Self { certificate, parameters, key }
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    pub(crate) fn issue(&self, names: Vec<SanType>) -> Issued {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::default();
        parameters.subject_alt_names = names;
        let issuer = Issuer::from_params(&self.parameters, &self.key);
        Issued { certificate: parameters.signed_by(&key, &issuer).unwrap(), key }
    }

    /// For `localhost`.
    pub(crate) fn issue_server(&self) -> Issued {
        self.issue(vec![SanType::DnsName("localhost".try_into().unwrap())])
    }

    pub(crate) fn server_config(&self) -> ServerConfig {
        let issued = self.issue_server();
        ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(issued.chain(), issued.key_der())
            .unwrap()
    }

    /// A client that trusts this authority, and shows a certificate if it has one.
    pub(crate) fn client_config(&self, issued: Option<&Issued>, protocols: &[&[u8]]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match issued {
            Some(issued) => builder.with_client_auth_cert(issued.chain(), issued.key_der()).unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(config)
    }
}

impl Issued {
    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.der().clone()]
    }

    fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()))
    }
}

/// A server that says the same to everybody. Its thread ends with the process.
pub(crate) fn serve_once_per_connection(config: Arc<ServerConfig>, answer: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(session, stream);
            // A client may end as it likes.
            if stream.read(&mut [0; 4096]).is_ok() && stream.write_all(answer.as_bytes()).is_ok() {
                stream.conn.send_close_notify();
                drop(stream.flush());
            }
        }
    });
    address
}
