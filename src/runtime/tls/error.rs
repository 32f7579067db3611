//! Why a certificate cannot be used.

use std::path::PathBuf;

use crate::config::ReadError;

/// Why a certificate cannot be used. Each says which file to look at and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// There is none, or only one of the two files is named.
    #[error("no certificate is configured: set both tls.certificate and tls.private_key")]
    NotConfigured,
    /// The certificate file cannot be read.
    #[error(
 "the certificate {} {source}", .path.display()
    )]
    CertificateUnreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ReadError,
    },
    /// The private key file cannot be read.
    #[error(
 "the private key {} {source}", .path.display()
    )]
    PrivateKeyUnreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ReadError,
    },
    /// The certificate file holds no certificate.
    #[error("{} holds no certificate: it must be PEM, the server's certificate first, then its chain", .path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The certificate file is damaged.
    #[error("the certificate {} is damaged ({reason}): write it again", .path.display())]
    CertificateDamaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The private key file holds no private key.
    #[error("{} holds no private key: it must be PEM (PKCS#8, PKCS#1 or SEC1)", .path.display())]
    NoPrivateKey {
        /// The file.
        path: PathBuf,
    },
    /// The private key is protected by a passphrase.
    #[error(
        "the private key {} is encrypted: store it without a passphrase, readable by this user only \
         (openssl pkey -in KEY -out PLAIN_KEY)",
        .path.display()
    )]
    PrivateKeyEncrypted {
        /// The file.
        path: PathBuf,
    },
    /// The private key is damaged or of a kind that is not supported.
    #[error(
        "the private key {} cannot be used ({reason}): it must be RSA of 2048 to 8192 bits, ECDSA P-256 or P-384, \
         or Ed25519",
        .path.display()
    )]
    PrivateKeyUnusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The two files do not belong together.
    #[error(
        "the private key {} does not belong to the certificate {}: name the pair that was issued together",
        .private_key.display(), .certificate.display()
    )]
    Mismatch {
        /// The certificate file.
        certificate: PathBuf,
        /// The private key file.
        private_key: PathBuf,
    },
    /// The key belongs to a later certificate of the file.
    #[error(
        "the first certificate in {} is not the server's, number {number} is: write the server's first, then its chain",
        .path.display()
    )]
    WrongOrder {
        /// The file.
        path: PathBuf,
        /// Where the one that belongs to the key is, from 1.
        number: usize,
    },
    /// A certificate that has expired would replace one that is still valid.
    #[error("the new certificate {} expired {seconds} s ago, the old one stays in use: renew it", .path.display())]
    Expired {
        /// The file.
        path: PathBuf,
        /// How long ago.
        seconds: u64,
    },
    /// A certificate that is not yet valid would replace one that is.
    #[error(
        "the new certificate {} is valid only in {seconds} s, the old one stays in use: check this machine's clock",
        .path.display()
    )]
    NotYetValid {
        /// The file.
        path: PathBuf,
        /// How long it takes.
        seconds: u64,
    },
    /// The TLS library refuses to work.
    #[error("TLS cannot be set up: {source}")]
    Unavailable {
        /// Why.
        #[from]
        source: rustls::Error,
    },
}
