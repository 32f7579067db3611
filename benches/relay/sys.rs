//! What the standard library lacks: network namespaces, processor affinity, socket options and epoll.
//! The only file here with `unsafe`.
#![allow(unsafe_code)]

use std::{
    ffi::{CString, c_int, c_void},
    fs::File,
    io,
    net::UdpSocket,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::Command,
    thread,
};

/// `UDP_SEGMENT`: longer sends are cut into datagrams of this size (linux/udp.h).
pub(crate) const UDP_SEGMENT: c_int = 103;
/// `UDP_GRO`: datagrams of one flow may be received merged (linux/udp.h).
pub(crate) const UDP_GRO: c_int = 104;

/// A network namespace without a name: it vanishes with the last process and descriptor that use it, so nothing
/// is left behind however this process ends.
pub(crate) struct Namespace(File);

impl Namespace {
    /// Makes a namespace; the caller stays where it is.
    pub(crate) fn new() -> io::Result<Self> {
        in_own_thread(|| {
            // SAFETY: unshare takes no pointer, and only this short-lived thread moves.
            check(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
            File::open("/proc/thread-self/ns/net").map(Self)
        })
    }

    /// Runs `work` inside the namespace, with a /sys that shows its devices, on a thread made for it.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        in_own_thread(|| {
            enter(self.0.as_raw_fd())?;
            show_own_devices_in_sys()?;
            work()
        })
    }

    /// A path that other processes can open while this one lives.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Makes `command` start inside the namespace, on one processor, in a session of its own (and so in a scheduling
    /// group of its own), and die with the thread that starts it.
    pub(crate) fn place(&self, command: &mut Command, processor: usize) {
        let namespace = self.0.as_raw_fd();
        // SAFETY: the closure runs between fork and exec and makes system calls only: no memory is allocated, no
        // lock is taken. The descriptor stays open until the parent has started the child, as `self` is borrowed.
        unsafe {
            command.pre_exec(move || {
                check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
                check(libc::setsid())?;
                enter(namespace)?;
                pin(0, processor)
            });
        }
    }
}

/// Binds a task (0: the calling thread) to one processor.
pub(crate) fn pin(task: i32, processor: usize) -> io::Result<()> {
    // SAFETY: an all-zero cpu_set_t is the empty set; CPU_SET checks its bounds; the size passed is the set's own.
    check(unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(processor, &mut set);
        libc::sched_setaffinity(task, size_of::<libc::cpu_set_t>(), &set)
    })
}

/// Makes a task run before every ordinary one, as an interrupt handler would.
pub(crate) fn make_real_time(task: i32) -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 1 };
    // SAFETY: the structure lives across the call, which only reads it.
    check(unsafe { libc::sched_setscheduler(task, libc::SCHED_FIFO, &parameters) })
}

/// Raises the limit of open descriptors as far as allowed and returns it.
pub(crate) fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a pointer to a live structure of the right type.
    unsafe {
        check(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit))?;
        limit.rlim_cur = limit.rlim_max;
        check(libc::setrlimit(libc::RLIMIT_NOFILE, &limit))?;
    }
    Ok(limit.rlim_cur)
}

/// Whether this process runs as root.
pub(crate) fn is_root() -> bool {
    // SAFETY: geteuid has no preconditions and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Sets an integer option of a UDP socket.
pub(crate) fn set_option(socket: &UdpSocket, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: the value lives across the call, and the length passed is its own.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast::<c_void>(),
            size_of::<c_int>() as libc::socklen_t,
        )
    })
}

/// Gives a socket `bytes` of buffer each way, beyond the system's bound.
pub(crate) fn set_buffers(socket: &UdpSocket, bytes: c_int) -> io::Result<()> {
    set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes)?;
    set_option(socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, bytes)
}

/// A level-triggered epoll instance whose tokens are indices.
pub(crate) struct Epoll {
    descriptor: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Epoll {
    /// An empty instance that reports at most 128 sockets at once.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: epoll_create1 takes no pointer, and a descriptor it returns is ours alone.
        let descriptor = unsafe {
            let raw = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            check(raw)?;
            OwnedFd::from_raw_fd(raw)
        };
        Ok(Self { descriptor, events: vec![libc::epoll_event { events: 0, u64: 0 }; 128] })
    }

    /// Watches `socket` for reading under `index`.
    pub(crate) fn watch(&self, socket: &UdpSocket, index: usize) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: index as u64 };
        // SAFETY: both descriptors are open and the event lives across the call.
        check(unsafe {
            libc::epoll_ctl(self.descriptor.as_raw_fd(), libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &mut event)
        })
    }

    /// Appends the indices of readable sockets to `ready`, after waiting at most `milliseconds`.
    pub(crate) fn wait(&mut self, milliseconds: i32, ready: &mut Vec<usize>) -> io::Result<()> {
        // SAFETY: the kernel writes at most as many events as the length passed, into initialised memory.
        let count = unsafe {
            libc::epoll_wait(
                self.descriptor.as_raw_fd(),
                self.events.as_mut_ptr(),
                self.events.len() as c_int,
                milliseconds,
            )
        };
        match usize::try_from(count) {
            Ok(count) => ready.extend(self.events.iter().take(count).map(|event| event.u64 as usize)),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

fn enter(namespace: c_int) -> io::Result<()> {
    // SAFETY: setns takes no pointer.
    check(unsafe { libc::setns(namespace, libc::CLONE_NEWNET) })
}

/// /sys shows the network devices of whoever mounted it: mounts one for this thread alone.
fn show_own_devices_in_sys() -> io::Result<()> {
    let (root, sys, kind) = (CString::new("/")?, CString::new("/sys")?, CString::new("sysfs")?);
    // SAFETY: all strings are NUL-terminated and live across the calls; null is allowed where the kernel reads none.
    unsafe {
        check(libc::unshare(libc::CLONE_NEWNS))?;
        let private = libc::MS_REC | libc::MS_PRIVATE;
        check(libc::mount(std::ptr::null(), root.as_ptr(), std::ptr::null(), private, std::ptr::null()))?;
        check(libc::mount(kind.as_ptr(), sys.as_ptr(), kind.as_ptr(), 0, std::ptr::null()))
    }
}

fn in_own_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| match scope.spawn(work).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

fn check(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
