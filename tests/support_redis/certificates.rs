//! Certificates for Redis over TLS.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::Scratch;

/// A certificate authority, a certificate for the loopback addresses and one for clients, each in a PEM file.
#[derive(Debug)]
pub(crate) struct Authority {
    pub(crate) certificate: PathBuf,
    pub(crate) server_certificate: PathBuf,
    pub(crate) server_key: PathBuf,
    pub(crate) client_certificate: PathBuf,
    pub(crate) client_key: PathBuf,
    _directory: Scratch,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let directory = Scratch::new("redis-ca");
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "iceway tests");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let issue = |name: &str| {
            let names = ["localhost", "127.0.0.1"].map(String::from).to_vec();
            let mut params = CertificateParams::new(names).unwrap();
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            let key = KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, &issuer).unwrap();
            (
                directory.write(&format!("{name}.pem"), certificate.pem()),
                directory.write(&format!("{name}.key"), key.serialize_pem()),
            )
        };
        let (server_certificate, server_key) = issue("server");
        let (client_certificate, client_key) = issue("client");
        let certificate = directory.write("ca.pem", issuer.pem());
        Self {
            certificate,
            server_certificate,
            server_key,
            client_certificate,
            client_key,
            _directory: directory,
        }
    }
}
