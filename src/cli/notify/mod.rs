//! What a service manager is told: the protocol of sd_notify(3), which is lines in a datagram.

mod attend;

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

pub(super) use attend::attend;

use crate::runtime::monotonic_microseconds;

/// Names the socket; set by the service manager.
const SOCKET: &str = "NOTIFY_SOCKET";
/// Within how many microseconds of the last sign of life the next one is due.
const WATCHDOG: &str = "WATCHDOG_USEC";
/// Whose signs of life are wanted; everybody's if it is not set.
const WATCHDOG_PROCESS: &str = "WATCHDOG_PID";
/// A manager that reads nothing for so long is not waited for.
const SEND_TIME_MAX: Duration = Duration::from_secs(1);
/// How long the last steps of the process may take once its relay has ended.
const END_TIME: Duration = Duration::from_secs(40);

/// Tells the service manager how the process is; without one it tells nobody. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(super) struct Notifier {
    manager: Option<Arc<Manager>>,
}

#[derive(Debug)]
struct Manager {
    socket: UnixDatagram,
    /// Not connected to: a manager that starts anew binds anew.
    address: SocketAddr,
    watchdog: Option<Duration>,
    is_stopping: AtomicBool,
}

impl Notifier {
    /// The manager that this process's environment names.
    pub(super) fn of_this_process() -> Self {
        Self::of(|name| std::env::var_os(name), std::process::id())
    }

    /// An address that is not understood is logged: the service runs, and its manager waits in vain.
    fn of(variable: impl Fn(&str) -> Option<OsString>, process: u32) -> Self {
        let Some(named) = variable(SOCKET).filter(|named| !named.is_empty()) else {
            return Self { manager: None };
        };
        let watchdog = watchdog(&variable, process);
        let manager = address(&named).and_then(|address| {
            let socket = UnixDatagram::unbound()?;
            socket.set_write_timeout(Some(SEND_TIME_MAX))?;
            Ok(Arc::new(Manager { socket, address, watchdog, is_stopping: AtomicBool::new(false) }))
        });
        if let Err(error) = &manager {
            tracing::warn!(%error, "The service manager's socket ({SOCKET}) cannot be used; it is told nothing.");
        }
        Self { manager: manager.ok() }
    }

    /// Clients are served.
    pub(super) fn ready(&self) {
        self.tell("READY=1\nSTATUS=Serving.");
    }

    /// The configuration is being read again; [`reloaded`](Self::reloaded) follows.
    pub(super) fn reloading(&self) {
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}\nSTATUS=Reloading.", monotonic_microseconds()));
    }

    /// The configuration was taken over, or everything is as it was.
    pub(super) fn reloaded(&self, is_taken_over: bool) {
        let status = if is_taken_over {
            "Reloaded."
        } else {
            "Not reloaded: the log says what is wrong; serving as before."
        };
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// The end has begun. How far it is, and that it needs more time, is told from now on.
    pub(super) fn stopping(&self) {
        if let Some(manager) = &self.manager {
            manager.is_stopping.store(true, Ordering::Relaxed);
        }
        self.tell("STOPPING=1\nSTATUS=Stopping.");
    }

    /// Only what has to be kept and told is left to do.
    pub(super) fn ending(&self) {
        self.tell(&format!("STATUS=Ending.\nEXTEND_TIMEOUT_USEC={}", END_TIME.as_micros()));
    }

    fn is_stopping(&self) -> bool {
        self.manager.as_ref().is_some_and(|manager| manager.is_stopping.load(Ordering::Relaxed))
    }

    fn watchdog(&self) -> Option<Duration> {
        self.manager.as_ref()?.watchdog
    }

    /// A manager that is gone or does not read is no fault of the relay.
    fn tell(&self, lines: &str) {
        let Some(manager) = &self.manager else { return };
        if let Err(error) = manager.socket.send_to_addr(lines.as_bytes(), &manager.address) {
            tracing::debug!(%error, "The service manager was not told.");
        }
    }
}

/// A path, or after `@` a name without a file.
fn address(named: &OsStr) -> io::Result<SocketAddr> {
    match named.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(named),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is neither a path nor an abstract name")),
    }
}

fn watchdog(variable: impl Fn(&str) -> Option<OsString>, process: u32) -> Option<Duration> {
    let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
    if variable(WATCHDOG_PROCESS).is_some() && number(WATCHDOG_PROCESS) != Some(process.into()) {
        return None;
    }
    number(WATCHDOG).filter(|microseconds| *microseconds > 0).map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notifier(variables: &[(&str, &str)]) -> Notifier {
        let find =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        Notifier::of(find, 7)
    }

    fn received(manager: &UnixDatagram) -> String {
        manager.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut datagram = [0; 512];
        let length = manager.recv(&mut datagram).unwrap();
        String::from_utf8(datagram[..length].to_vec()).unwrap()
    }

    #[test]
    fn both_kinds_of_addresses_are_written_to() {
        let name = format!("iceway-notify-{}", std::process::id());
        let path = std::env::temp_dir().join(&name);
        let by_path = UnixDatagram::bind(&path).unwrap();
        let by_name = SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = UnixDatagram::bind_addr(&by_name).unwrap();
        for (manager, address) in [(by_path, path.to_str().unwrap()), (by_name, &format!("@{name}"))] {
            let notifier = notifier(&[(SOCKET, address)]);
            notifier.ready();
            assert_eq!(received(&manager), "READY=1\nSTATUS=Serving.");
            notifier.reloading();
            let reloading = received(&manager);
            let (_, clock) = reloading.split_once("RELOADING=1\nMONOTONIC_USEC=").unwrap();
            let since = clock.split_once('\n').unwrap().0.parse::<u64>().unwrap();
            assert!((1..=monotonic_microseconds()).contains(&since), "{since}");
            notifier.reloaded(false);
            assert!(received(&manager).starts_with("READY=1\nSTATUS=Not reloaded"));
            notifier.stopping();
            assert!(received(&manager).starts_with("STOPPING=1\n") && notifier.is_stopping());
        }
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn without_a_manager_or_with_one_that_is_gone_nothing_happens() {
        for variables in
            [&[][..], &[(SOCKET, "")], &[(SOCKET, "vsock:2:1")], &[(SOCKET, "/nonexistent/notify")]]
        {
            let notifier = notifier(variables);
            notifier.ready();
            notifier.stopping();
        }
    }

    #[test]
    fn the_watchdog_wants_signs_of_this_process_only() {
        let due =
            |variables: &[(&str, &str)]| notifier(&[variables, &[(SOCKET, "@nobody")]].concat()).watchdog();
        assert_eq!(due(&[]), None);
        assert_eq!(due(&[(WATCHDOG, "30000000")]), Some(Duration::from_secs(30)));
        assert_eq!(due(&[(WATCHDOG, "30000000"), (WATCHDOG_PROCESS, "7")]), Some(Duration::from_secs(30)));
        assert_eq!(due(&[(WATCHDOG, "30000000"), (WATCHDOG_PROCESS, "8")]), None);
        assert_eq!(due(&[(WATCHDOG, "0")]), None);
        assert_eq!(due(&[(WATCHDOG, "soon")]), None);
    }
}
