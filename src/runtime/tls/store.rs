//! The certificate in use.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::{CertifiedKey, SingleCertAndKey},
};
use tracing::{info, warn};

use super::{
    TlsError,
    validity::{Validity, validity},
};
use crate::config::{self, read_file};

/// Application protocols a client may ask for (RFC 7443); one that asks for none is served too, one that asks only for
/// others is not.
const PROTOCOLS: [&[u8]; 2] = [b"stun.turn", b"stun.nat-discovery"];

/// No certificate or key is anywhere near this large.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The certificate in use, replaceable while connections run: those that are established keep theirs.
pub(crate) struct TlsStore {
    certificate: PathBuf,
    private_key: PathBuf,
    current: ArcSwap<Loaded>,
    /// The files as they were when they were last read, successfully or not.
    read: Mutex<Stamp>,
    reloads: AtomicU64,
    reload_failures: AtomicU64,
    watched: AtomicBool,
}

/// What can be seen of the certificate from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateStatus {
    /// From when it is valid, in seconds since the Unix epoch.
    pub not_before: u64,
    /// Until when it is valid, in seconds since the Unix epoch.
    pub not_after: u64,
    /// How often it was replaced.
    pub reloads: u64,
    /// How often it could not be replaced, so that the old one stayed.
    pub reload_failures: u64,
}

struct Loaded {
    config: Arc<ServerConfig>,
    certified: Arc<CertifiedKey>,
    validity: Validity,
}

/// What tells one version of both files from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp([Option<FileStamp>; 2]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileStamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl std::fmt::Debug for TlsStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsStore").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl TlsStore {
    /// Reads the configured certificate; `None` if there is none configured.
    ///
    /// One that has expired is used all the same, with a warning: clients that do not check go on working.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub(crate) fn load(config: &config::Tls) -> Result<Option<Arc<Self>>, TlsError> {
        let (certificate, private_key) = match (&config.certificate, &config.private_key) {
            (None, None) => return Ok(None),
            (Some(certificate), Some(private_key)) => (certificate.clone(), private_key.clone()),
            (Some(_), None) | (None, Some(_)) => return Err(TlsError::NotConfigured),
        };
        let stamp = Stamp::of(&certificate, &private_key);
        let loaded = read(&certificate, &private_key)?;
        warn_about_dates(&certificate, loaded.validity);
        Ok(Some(Arc::new(Self {
            certificate,
            private_key,
            current: ArcSwap::from_pointee(loaded),
            read: Mutex::new(stamp),
            reloads: AtomicU64::new(0),
            reload_failures: AtomicU64::new(0),
            watched: AtomicBool::new(false),
        })))
    }

    /// Reads the files again; on failure the certificate in use stays.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub(crate) fn reload(&self) -> Result<(), TlsError> {
        // Stamped before they are read: a change in between is seen as one.
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = self.stamp();
        let result = read(&self.certificate, &self.private_key).and_then(|loaded| self.accept(loaded));
        let counter = if result.is_ok() { &self.reloads } else { &self.reload_failures };
        counter.fetch_add(1, Ordering::Relaxed);
        result
    }

    /// Reads the files as [`reload`](Self::reload) would, and changes nothing.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub(crate) fn check(&self) -> Result<(), TlsError> {
        read(&self.certificate, &self.private_key).and_then(|loaded| self.judge(&loaded))
    }

    /// What a new connection's TLS session is made from.
    pub(crate) fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().config)
    }

    /// The certificate in use with its key, for other protocols than ours. Another value each time it is replaced.
    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.current.load().certified)
    }

    /// What can be seen of the certificate from outside.
    pub(crate) fn status(&self) -> CertificateStatus {
        let validity = self.current.load().validity;
        CertificateStatus {
            not_before: validity.not_before,
            not_after: validity.not_after,
            reloads: self.reloads.load(Ordering::Relaxed),
            reload_failures: self.reload_failures.load(Ordering::Relaxed),
        }
    }

    /// True for the first to ask: one task watches the files for all shards.
    pub(crate) fn begin_watch(&self) -> bool {
        !self.watched.swap(true, Ordering::Relaxed)
    }

    /// The certificate's file, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.certificate
    }

    /// The files as they are now.
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp::of(&self.certificate, &self.private_key)
    }

    /// The files as they were when they were last read.
    pub(crate) fn read_stamp(&self) -> Stamp {
        *self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses a certificate that is not valid now while the one in use is.
    fn judge(&self, loaded: &Loaded) -> Result<(), TlsError> {
        let now = unix_now();
        let Validity { not_before, not_after } = loaded.validity;
        if self.current.load().validity.contains(now) {
            if not_after < now {
                return Err(TlsError::Expired { path: self.certificate.clone(), seconds: now - not_after });
            }
            if not_before > now {
                return Err(TlsError::NotYetValid {
                    path: self.certificate.clone(),
                    seconds: not_before - now,
                });
            }
        }
        Ok(())
    }

    fn accept(&self, loaded: Loaded) -> Result<(), TlsError> {
        self.judge(&loaded)?;
        let not_after = loaded.validity.not_after;
        warn_about_dates(&self.certificate, loaded.validity);
        self.current.store(Arc::new(loaded));
        info!(certificate = %self.certificate.display(), not_after, "New TLS connections use the new certificate.");
        Ok(())
    }
}

impl Validity {
    const fn contains(self, now: u64) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

impl Stamp {
    fn of(certificate: &Path, private_key: &Path) -> Self {
        // Links are followed: renewals often only turn a link to another directory.
        Self([certificate, private_key].map(|path| {
            let metadata = fs::metadata(path).ok()?;
            Some(FileStamp {
                device: metadata.dev(),
                inode: metadata.ino(),
                bytes: metadata.len(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                changed: (metadata.ctime(), metadata.ctime_nsec()),
            })
        }))
    }
}

/// Seconds since the Unix epoch.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn warn_about_dates(path: &Path, Validity { not_before, not_after }: Validity) {
    const SOON: u64 = 7 * 86_400;
    let now = unix_now();
    let path = path.display();
    if not_after < now {
        warn!(certificate = %path, not_after, "The certificate has expired: clients will refuse it. Renew it.");
    } else if not_before > now {
        warn!(certificate = %path, not_before, "The certificate is not valid yet. Check this machine's clock.");
    } else if not_after - now < SOON {
        warn!(certificate = %path, not_after, "The certificate expires within a week. Renew it.");
    }
}

fn read(certificate: &Path, private_key: &Path) -> Result<Loaded, TlsError> {
    let chain = read_chain(certificate)?;
    let key = read_key(private_key)?;
    let end_entity = chain.first().ok_or_else(|| TlsError::NoCertificate { path: certificate.to_owned() })?;
    let validity = validity(end_entity).ok_or_else(|| TlsError::CertificateDamaged {
        path: certificate.to_owned(),
        reason: "its dates cannot be read".to_owned(),
    })?;
    let provider = Arc::new(ring::default_provider());
    let key = provider.key_provider.load_private_key(key).map_err(|error| TlsError::PrivateKeyUnusable {
        path: private_key.to_owned(),
        reason: error.to_string(),
    })?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            return Err(match position_of_key(&certified) {
                Some(position) => TlsError::WrongOrder { path: certificate.to_owned(), number: position + 1 },
                None => TlsError::Mismatch {
                    certificate: certificate.to_owned(),
                    private_key: private_key.to_owned(),
                },
            });
        }
        Err(error) => {
            return Err(TlsError::CertificateDamaged {
                path: certificate.to_owned(),
                reason: error.to_string(),
            });
        }
    }
    let config = Arc::new(server_config(provider, certified.clone())?);
    Ok(Loaded { config, certified: Arc::new(certified), validity })
}

/// The certificate that the key belongs to, where it is not the first.
fn position_of_key(certified: &CertifiedKey) -> Option<usize> {
    certified.cert.iter().position(|certificate| {
        CertifiedKey::new(vec![certificate.clone()], Arc::clone(&certified.key)).keys_match().is_ok()
    })
}

fn server_config(provider: Arc<CryptoProvider>, certified: CertifiedKey) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = PROTOCOLS.iter().map(|protocol| protocol.to_vec()).collect();
    // Sessions are resumed by tickets alone, so they cost no memory here. Their keys are new with each certificate:
    // nobody resumes past a certificate that was replaced.
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.ticketer = ring::Ticketer::new()?;
    config.send_tls13_tickets = 1;
    Ok(config)
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read_file(path, FILE_BYTES_MAX)
        .map_err(|source| TlsError::CertificateUnreadable { path: path.to_owned(), source })?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain
        .map_err(|error| TlsError::CertificateDamaged { path: path.to_owned(), reason: error.to_string() })?;
    if chain.is_empty() { Err(TlsError::NoCertificate { path: path.to_owned() }) } else { Ok(chain) }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    use rustls::pki_types::pem::Error;

    let pem = read_file(path, FILE_BYTES_MAX)
        .map_err(|source| TlsError::PrivateKeyUnreadable { path: path.to_owned(), source })?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| {
        let path = path.to_owned();
        // "BEGIN ENCRYPTED PRIVATE KEY" of PKCS#8, "Proc-Type: 4,ENCRYPTED" of the older format.
        if pem.windows(9).any(|word| word == b"ENCRYPTED") {
            TlsError::PrivateKeyEncrypted { path }
        } else if matches!(error, Error::NoItemsFound) {
            TlsError::NoPrivateKey { path }
        } else {
            TlsError::PrivateKeyUnusable { path, reason: error.to_string() }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::tls::fixture::{Directory, Issued};

    fn load(directory: &Directory) -> Result<Arc<TlsStore>, TlsError> {
        TlsStore::load(&directory.files()).map(|store| store.unwrap())
    }

    fn replaced(before: &Issued, after: &Issued) -> (Result<(), TlsError>, CertificateStatus) {
        let directory = Directory::new();
        directory.write(before);
        let store = load(&directory).unwrap();
        directory.write(after);
        let result = store.reload();
        (result, store.status())
    }

    #[test]
    fn both_files_or_none_must_be_named() {
        assert!(TlsStore::load(&config::Tls::default()).unwrap().is_none());
        let only_one = config::Tls { certificate: Some("/nowhere".into()), private_key: None };
        assert!(matches!(TlsStore::load(&only_one), Err(TlsError::NotConfigured)));
    }

    #[test]
    fn each_fault_of_the_files_has_its_own_error_that_names_the_file() {
        let directory = Directory::new();
        let issued = Issued::new();
        let other = Issued::new();
        let certificate = issued.certificate.pem();
        let key = issued.key.serialize_pem();
        let write = |certificate: &str, key: &str| {
            fs::write(directory.certificate(), certificate).unwrap();
            fs::write(directory.key(), key).unwrap();
            load(&directory).unwrap_err()
        };
        assert!(matches!(load(&directory).unwrap_err(), TlsError::CertificateUnreadable { .. }));
        fs::write(directory.certificate(), &certificate).unwrap();
        assert!(matches!(load(&directory).unwrap_err(), TlsError::PrivateKeyUnreadable { .. }));
        assert!(matches!(write("", &key), TlsError::NoCertificate { .. }));
        assert!(matches!(
            write(&certificate[..certificate.len() / 2], &key),
            TlsError::CertificateDamaged { .. }
        ));
        assert!(matches!(
            write("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &key),
            TlsError::CertificateDamaged { .. }
        ));
        assert!(matches!(write(&certificate, ""), TlsError::NoPrivateKey { .. }));
        assert!(matches!(
            write(&certificate, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
            TlsError::PrivateKeyUnusable { .. }
        ));
        assert!(matches!(
            write(
                &certificate,
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"
            ),
            TlsError::PrivateKeyEncrypted { .. }
        ));
        let mismatch = write(&certificate, &other.key.serialize_pem());
        assert!(matches!(mismatch, TlsError::Mismatch { .. }));
        let message = mismatch.to_string();
        assert!(message.contains(directory.certificate().to_str().unwrap()), "{message}");
        assert!(message.contains(directory.key().to_str().unwrap()), "{message}");
        assert!(!message.contains("BEGIN"), "{message}");
    }

    #[test]
    fn an_expired_certificate_is_served_if_there_is_no_better_one() {
        let directory = Directory::new();
        directory.write(&Issued::valid(2000, 2001));
        let store = load(&directory).unwrap();
        assert_eq!(store.status().not_after, 978_307_200);
        directory.write(&Issued::valid(2001, 2002));
        store.reload().unwrap();
        assert_eq!(store.status().not_after, 1_009_843_200);
    }

    #[test]
    fn a_valid_certificate_is_replaced_only_by_one_that_is_valid() {
        let (result, status) = replaced(&Issued::new(), &Issued::valid(2000, 2001));
        assert!(matches!(result, Err(TlsError::Expired { .. })));
        assert_eq!(status.not_after, 64_060_588_800);
        assert_eq!((status.reloads, status.reload_failures), (0, 1));
        let (result, _) = replaced(&Issued::new(), &Issued::valid(3000, 3001));
        assert!(matches!(result, Err(TlsError::NotYetValid { .. })));
        let (result, status) = replaced(&Issued::valid(2000, 2001), &Issued::new());
        assert!(result.is_ok());
        assert_eq!((status.reloads, status.reload_failures), (1, 0));
    }

    #[test]
    fn a_broken_file_keeps_the_old_certificate() {
        let directory = Directory::new();
        directory.write(&Issued::new());
        let store = load(&directory).unwrap();
        let before = store.server_config();
        fs::write(directory.certificate(), "half a certif").unwrap();
        assert!(store.reload().is_err());
        assert!(Arc::ptr_eq(&before, &store.server_config()));
        directory.write(&Issued::new());
        store.reload().unwrap();
        assert!(!Arc::ptr_eq(&before, &store.server_config()));
    }
}
