//! Certificates on disk, for tests.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use rcgen::{Certificate, CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;

use crate::config;

/// A self-signed certificate for `localhost` and its key.
pub(crate) struct Issued {
    pub(crate) certificate: Certificate,
    pub(crate) key: KeyPair,
}

impl Issued {
    /// One that is valid for as long as tests may run.
    pub(crate) fn new() -> Self {
        Self::valid(2020, 4000)
    }

    /// One that is valid from the first day of one year to the first day of another.
    pub(crate) fn valid(from: i32, until: i32) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(["localhost".to_owned()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(from, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(until, 1, 1);
        Self { certificate: parameters.self_signed(&key).unwrap(), key }
    }
}

/// A directory for a certificate and its key that is removed in the end.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("iceway-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.0.join("certificate.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.0.join("key.pem")
    }

    /// The configuration that names both files.
    pub(crate) fn files(&self) -> config::Tls {
        config::Tls { certificate: Some(self.certificate()), private_key: Some(self.key()) }
    }

    /// Writes both files and says what clients are to trust.
    pub(crate) fn write(&self, issued: &Issued) -> CertificateDer<'static> {
        self.replace(&self.certificate(), &issued.certificate.pem());
        self.replace(&self.key(), &issued.key.serialize_pem());
        issued.certificate.der().clone()
    }

    /// Puts a new file in the place of an old one: not the same one written again, which a kernel with coarse time
    /// stamps shows unchanged for some milliseconds.
    fn replace(&self, path: &Path, contents: &str) {
        let new = self.0.join("new");
        fs::write(&new, contents).unwrap();
        fs::rename(new, path).unwrap();
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left of a directory in the system's place for such things hurts nobody.
        fs::remove_dir_all(&self.0).ok();
    }
}
