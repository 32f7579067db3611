//! Finding, making and judging the file.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use redb::{
    Database, DatabaseError, StorageError,
    backends::{FileBackend, InMemoryBackend},
};

use crate::cluster::OpenError;

/// Pages kept in memory. The rows are in memory anyway.
const CACHE_BYTES: usize = 16 << 20;
/// What a file of the database's begins with.
const MAGIC: &[u8] = b"redb";
/// Only its owner reads or writes the file: it holds secrets.
const MODE: u32 = 0o600;

/// Where the database is.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// Nowhere but in memory.
    Memory,
    /// In a file.
    File(PathBuf),
    /// Wherever a test says.
    #[cfg(test)]
    Test(super::disk::Disk),
}

impl Source {
    pub(super) fn of(path: Option<&Path>) -> Self {
        path.map_or(Self::Memory, |path| Self::File(path.to_owned()))
    }

    /// The name for messages.
    pub(super) fn path(&self) -> PathBuf {
        match self {
            Self::Memory => PathBuf::from("the store in memory"),
            Self::File(path) => path.clone(),
            #[cfg(test)]
            Self::Test(_) => PathBuf::from("test"),
        }
    }

    /// Opens the database, mends what a crash left behind, and verifies all of it.
    pub(super) fn open(&self) -> Result<Database, OpenError> {
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
        match self {
            Self::Memory => builder
                .create_with_backend(InMemoryBackend::new())
                .map_err(|error| OpenError::System(format!("no store in memory: {error}"))),
            Self::File(path) => {
                let file = open_file(path).map_err(|problem| refused(path, problem))?;
                let backend = FileBackend::new(file).map_err(|error| explain(path, error))?;
                builder.create_with_backend(backend).map_err(|error| explain(path, error))
            }
            #[cfg(test)]
            Self::Test(disk) => {
                builder.create_with_backend(disk.clone()).map_err(|error| explain(Path::new("test"), error))
            }
        }
    }
}

/// Makes the file if there is none, with `fill` to write what it begins with. It appears under its name when it is
/// whole: one that is killed while it makes a file leaves none that cannot be read.
pub(super) fn make(
    path: &Path,
    fill: impl FnOnce(&Database) -> Result<(), OpenError>,
) -> Result<(), OpenError> {
    if path.symlink_metadata().is_ok_and(|found| found.len() > 0 || !found.is_file()) {
        return Ok(());
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let unfinished = PathBuf::from(name);
    let refuse = |error: io::Error| refused(path, explain_io(path, &error));
    let file = open_options().open(&unfinished).map_err(refuse)?;
    match file.try_lock() {
        Ok(()) => file.set_len(0).and_then(|()| file.unlock()).map_err(refuse)?,
        Err(TryLockError::WouldBlock) => return Err(OpenError::StoreInUse { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => return Err(refuse(error)),
    }
    let backend = FileBackend::new(file).map_err(|error| explain(path, error))?;
    let database = Database::builder().create_with_backend(backend).map_err(|error| explain(path, error))?;
    fill(&database)?;
    drop(database);
    match fs::rename(&unfinished, path) {
        // An empty file that was mounted there can only be filled where it is.
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
            return fs::remove_file(&unfinished).map_err(refuse);
        }
        renamed => renamed.map_err(refuse)?,
    }
    sync_directory(path);
    Ok(())
}

/// An error of the file that is not one of the system.
pub(super) fn refused(path: &Path, problem: impl Into<String>) -> OpenError {
    OpenError::Store { path: path.to_owned(), problem: problem.into() }
}

/// What is wrong with a file whose inside makes no sense.
pub(super) fn damaged(path: &Path, detail: &str) -> OpenError {
    let problem = format!(
        "is damaged ({detail}); put a copy of it back, or move it away: then revocations, stored secrets, API keys and \
         usage that was not taken are forgotten"
    );
    refused(path, problem)
}

fn open_file(path: &Path) -> Result<File, String> {
    let mut file = open_options().open(path).map_err(|error| explain_io(path, &error))?;
    let metadata = file.metadata().map_err(|error| explain_io(path, &error))?;
    if !metadata.is_file() {
        return Err("is not a file; name one".to_owned());
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        file.set_permissions(fs::Permissions::from_mode(MODE)).map_err(|error| {
            format!("can be read by others, and that cannot be changed: {error}; run chmod 600 on it")
        })?;
    }
    let mut start = [0; MAGIC.len()];
    if metadata.len() > 0 && (file.read_exact(&mut start).is_err() || start != MAGIC) {
        return Err(
            "is another kind of file; give store.path another name, or move that file away".to_owned()
        );
    }
    Ok(file)
}

fn open_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(MODE);
    options
}

fn explain(path: &Path, error: DatabaseError) -> OpenError {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            OpenError::StoreInUse { path: path.to_owned() }
        }
        DatabaseError::Storage(StorageError::Corrupted(detail)) => damaged(path, &detail),
        DatabaseError::Storage(StorageError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
            damaged(path, &error.to_string())
        }
        DatabaseError::Storage(StorageError::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            damaged(path, "it was cut off")
        }
        DatabaseError::Storage(StorageError::Io(error)) => refused(path, explain_io(path, &error)),
        DatabaseError::UpgradeRequired(version) => refused(
            path,
            format!(
                "is of version {version} of its format, which this iceway does not read; use the one that wrote it"
            ),
        ),
        error @ (DatabaseError::RepairAborted
        | DatabaseError::TransactionInProgress
        | DatabaseError::Storage(_)
        | _) => damaged(path, &error.to_string()),
    }
}

fn explain_io(path: &Path, error: &io::Error) -> String {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory = directory.display();
    let is = |kind: io::ErrorKind| error.kind() == kind;
    if is(io::ErrorKind::NotFound) {
        return format!("cannot be made: there is no directory {directory}; create it");
    }
    if is(io::ErrorKind::PermissionDenied) {
        return format!(
            "cannot be opened for writing: {error}; it and {directory} must belong to the user that iceway runs as"
        );
    }
    if is(io::ErrorKind::ReadOnlyFilesystem) {
        return format!("cannot be written: {error}; name a file elsewhere, such as in /var/lib/iceway");
    }
    if is(io::ErrorKind::StorageFull) || is(io::ErrorKind::QuotaExceeded) {
        return format!("cannot be written: {error}; free some space");
    }
    format!("cannot be used: {error}; check the path and the file system")
}

/// So that the name of a new file outlives a power failure as well.
fn sync_directory(path: &Path) {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Err(error) = File::open(directory).and_then(|directory| directory.sync_all()) {
        tracing::debug!("The directory of the store cannot be synced: {error}");
    }
}
