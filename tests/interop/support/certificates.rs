//! A private certificate authority for one test.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// A certificate authority with its certificate on disk.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: PathBuf,
}

impl Authority {
    /// Creates the authority and writes `ca.pem` into `directory`.
    pub(crate) fn new(directory: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "interop test authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(directory.join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, directory: directory.to_owned() }
    }

    /// The authority's certificate, PEM.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// Issues a certificate for the loopback addresses with `common_name`, and writes it with its key over
    /// `certificate.pem` and `key.pem`.
    pub(crate) fn issue(&self, common_name: &str) {
        let names = ["localhost", "127.0.0.1", "127.0.0.2", "127.0.0.3", "::1"].map(String::from).to_vec();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, common_name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.key_path(), key.serialize_pem()).unwrap();
        std::fs::write(self.certificate_path(), certificate.pem()).unwrap();
    }

    /// The same for another name alone, and for a time that may be over.
    pub(crate) fn issue_for(&self, name: &str, is_expired: bool) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if is_expired {
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.key_path(), key.serialize_pem()).unwrap();
        std::fs::write(self.certificate_path(), certificate.pem()).unwrap();
    }

    pub(crate) fn certificate_path(&self) -> PathBuf {
        self.directory.join("certificate.pem")
    }

    pub(crate) fn key_path(&self) -> PathBuf {
        self.directory.join("key.pem")
    }
}
