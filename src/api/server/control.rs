//! The control socket: the API for whoever may open a file.

use std::{
    fs, io,
    os::unix::{
        fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use thiserror::Error;
use tokio::{
    sync::{Semaphore, watch},
    time::sleep,
};

use super::{
    connection,
    front::{Front, Link},
};
use crate::api::{Service, routes::router};

/// Connections at once; more wait.
const CONNECTIONS_MAX: usize = 32;
/// How long to wait after the system refused a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Only the owner may open it.
const SOCKET_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
const ROOT: u32 = 0;

/// Why there can be no control socket at a path. One line each, with what to do.
#[derive(Debug, Error)]
pub enum ControlError {
    /// Somebody answers there.
    #[error("{} is in use, most likely by another iceway; end that one, or name another path", .0.display())]
    InUse(PathBuf),
    /// Something else is there.
    #[error("{} is no socket; move it away, or name another path", .0.display())]
    NoSocket(PathBuf),
    /// The system refuses.
    #[error("{} cannot be made: {error}; name a path in a directory that is only the server's", path.display())]
    System {
        /// The path.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// A control socket that nobody is answered on yet. The file is removed when it is dropped.
#[derive(Debug)]
pub struct ControlListener {
    listener: UnixListener,
    file: File,
}

/// The file of a socket, as it was made.
#[derive(Debug)]
struct File {
    path: PathBuf,
    /// Device and number: what another process puts there is not this one's to remove.
    identity: (u64, u64),
    owner: u32,
}

impl ControlListener {
    /// Listens at `path`, in the place of a socket whose server has gone. A directory that is missing is made.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub fn bind(path: &Path) -> Result<Self, ControlError> {
        let refused = |error| ControlError::System { path: path.to_owned(), error };
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty())
            && !directory.exists()
        {
            fs::DirBuilder::new().mode(DIRECTORY_MODE).create(directory).map_err(refused)?;
        }
        remove_stale(path)?;
        let listener = UnixListener::bind(path).map_err(refused)?;
        let file = File::of(path).map_err(refused)?;
        fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE)).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        Ok(Self { listener, file })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file.path
    }
}

/// Makes room: a socket that nobody listens on was left by a server that was killed.
fn remove_stale(path: &Path) -> Result<(), ControlError> {
    let refused = |error| ControlError::System { path: path.to_owned(), error };
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refused(error)),
    };
    if !found.file_type().is_socket() {
        return Err(ControlError::NoSocket(path.to_owned()));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(refused)
        }
        Ok(_) => Err(ControlError::InUse(path.to_owned())),
        Err(error) => Err(refused(error)),
    }
}

impl File {
    fn of(path: &Path) -> io::Result<Self> {
        let (identity, owner) = look(path)?;
        Ok(Self { path: path.to_owned(), identity, owner })
    }
}

/// Device and number of a file, and whose it is.
fn look(path: &Path) -> io::Result<((u64, u64), u32)> {
    let found = fs::symlink_metadata(path)?;
    Ok(((found.dev(), found.ino()), found.uid()))
}

impl Drop for File {
    fn drop(&mut self) {
        let is_ours = look(&self.path).is_ok_and(|(identity, _)| identity == self.identity);
        if is_ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, "The control socket could not be removed.");
        }
    }
}

/// The running control socket. Ends when it is dropped.
#[derive(Debug)]
pub struct ControlServer {
    stop: watch::Sender<bool>,
    thread: Option<thread::JoinHandle<()>>,
    /// Removed last.
    file: File,
}

impl ControlServer {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file.path
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("The thread of the control socket had panicked.");
        }
    }
}

/// Answers on the control socket, in a thread of its own, so that it is there when HTTP is busy.
///
/// # Errors
/// The system refuses the thread, its event queue or random bytes.
pub fn serve_control(listener: ControlListener, service: &Service) -> io::Result<ControlServer> {
    let ControlListener { listener, file } = listener;
    let front = Front::new(router(service.clone()), service)?;
    let (stop, mut stopped) = watch::channel(false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let owner = file.owner;
    let run = async move {
        tokio::select! {
            result = accept(listener, front, owner) => {
                if let Err(error) = result {
                    tracing::error!(%error, "The control socket ended.");
                }
            }
            // Either it is told to, or nobody is left who could tell.
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
    };
    let thread =
        thread::Builder::new().name("iceway-command".to_owned()).spawn(move || runtime.block_on(run))?;
    Ok(ControlServer { stop, thread: Some(thread), file })
}

async fn accept(listener: UnixListener, front: Front, owner: u32) -> io::Result<()> {
    let listener = tokio::net::UnixListener::from_std(listener)?;
    let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&free).acquire_owned().await else { return Ok(()) };
        match listener.accept().await {
            // Also who came before the file was closed to others.
            Ok((stream, _)) if !stream.peer_cred().is_ok_and(|peer| [ROOT, owner].contains(&peer.uid())) => {
                tracing::warn!("Somebody else than root and the server's user opened the control socket.");
            }
            Ok((stream, _)) => {
                let front = front.clone();
                tokio::spawn(async move {
                    connection::serve(stream, front, Link::control()).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "A connection to the control socket could not be accepted.");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("iceway-socket-{}-{name}", std::process::id()));
        // It may be left from before.
        drop(fs::remove_dir_all(&directory));
        directory
    }

    #[test]
    fn a_socket_is_the_owners_alone_and_gone_afterwards() {
        let directory = scratch("made");
        let path = directory.join("control.sock");
        let listener = ControlListener::bind(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&directory)), (0o600, 0o700));
        assert!(matches!(ControlListener::bind(&path), Err(ControlError::InUse(_))));
        assert!(path.exists(), "a refusal takes nothing away");
        drop(listener);
        assert!(!path.exists());
        fs::remove_dir(directory).unwrap();
    }

    #[test]
    fn a_socket_that_was_left_is_replaced_and_other_files_are_not() {
        let directory = scratch("stale");
        fs::create_dir(&directory).unwrap();
        let path = directory.join("control.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(ControlListener::bind(&path).unwrap());
        fs::write(&path, "kept").unwrap();
        assert!(matches!(ControlListener::bind(&path), Err(ControlError::NoSocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "kept");
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn what_another_server_put_in_its_place_stays() {
        let directory = scratch("other");
        fs::create_dir(&directory).unwrap();
        let path = directory.join("control.sock");
        let listener = ControlListener::bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let other = UnixListener::bind(&path).unwrap();
        drop(listener);
        assert!(path.exists());
        drop(other);
        fs::remove_dir_all(directory).unwrap();
    }
}
