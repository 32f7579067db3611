//! Files of certificate authorities, for the connections that this process makes and the certificates of its callers.

use std::path::{Path, PathBuf};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use crate::config;

/// The bundle of a whole operating system has a quarter of a megabyte.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Why a file of authorities cannot be used, with what to do.
#[derive(Debug, thiserror::Error)]
#[error("{} {reason}", .path.display())]
pub(crate) struct AuthoritiesError {
    path: PathBuf,
    reason: String,
}

/// Reads every certificate of a PEM file.
///
/// # Errors
/// See [`AuthoritiesError`].
pub(crate) fn read_authorities(path: &Path) -> Result<RootCertStore, AuthoritiesError> {
    let fault = |reason| AuthoritiesError { path: path.to_owned(), reason };
    let damaged = |number: usize, why: String| {
        fault(format!("is damaged ({why}, certificate {number}); write it again, in PEM"))
    };
    let pem = config::read_file(path, FILE_BYTES_MAX).map_err(|error| fault(error.to_string()))?;
    let mut store = RootCertStore::empty();
    for (number, certificate) in (1..).zip(CertificateDer::pem_slice_iter(&pem)) {
        let certificate = certificate.map_err(|error| damaged(number, error.to_string()))?;
        store.add(certificate).map_err(|error| damaged(number, error.to_string()))?;
    }
    if store.is_empty() {
        let reason = "holds no certificate; it must be PEM, with every authority that is trusted";
        return Err(fault(reason.to_owned()));
    }
    Ok(store)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_cannot_be_used_is_explained() {
        let path = std::env::temp_dir().join(format!("iceway-authorities-{}", std::process::id()));
        let explained = |text: &str| {
            fs::write(&path, text).unwrap();
            read_authorities(&path).unwrap_err().reason
        };
        assert!(explained("").starts_with("holds no certificate; "));
        let half = "-----BEGIN CERTIFICATE-----\nMIIB\n";
        assert!(explained(half).starts_with("is damaged ("), "{}", explained(half));
        let foreign = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        assert!(explained(foreign).contains("certificate 1); write it again"), "{}", explained(foreign));
        fs::remove_file(&path).unwrap();
        assert!(read_authorities(&path).unwrap_err().reason.starts_with("cannot be read: "));
    }
}
