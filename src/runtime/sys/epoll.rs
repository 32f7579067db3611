//! A level-triggered epoll instance.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use tokio::io::{Interest, unix::AsyncFd};

use super::checked;

/// An epoll instance and the list its events are fetched into.
///
/// A descriptor leaves it by being closed.
pub(crate) struct Epoll {
    descriptor: OwnedFd,
    events: Vec<libc::epoll_event>,
}

/// What one descriptor is ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Readiness {
    /// What it was added with.
    pub(crate) token: u64,
    /// Something can be received.
    pub(crate) readable: bool,
    /// Something is in its error queue.
    pub(crate) failed: bool,
}

impl Epoll {
    /// An instance that fetches at most `events_max` events at once.
    pub(crate) fn new(events_max: usize) -> io::Result<Self> {
        // SAFETY: no pointers; the result is checked before it is owned.
        let descriptor = unsafe { OwnedFd::from_raw_fd(checked(libc::epoll_create1(libc::EPOLL_CLOEXEC))?) };
        let empty = libc::epoll_event { events: 0, u64: 0 };
        Ok(Self { descriptor, events: vec![empty; events_max.max(1)] })
    }

    /// Watches `socket` for input and errors.
    pub(crate) fn add(&self, socket: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: token };
        // SAFETY: the event lives across the call; the descriptors are open, since they are borrowed.
        checked(unsafe {
            libc::epoll_ctl(
                self.descriptor.as_raw_fd(),
                libc::EPOLL_CTL_ADD,
                socket.as_raw_fd(),
                &raw mut event,
            )
        })?;
        Ok(())
    }

    /// Registers the instance itself with the tokio runtime of this thread: it is readable when something in it is
    /// ready.
    pub(crate) fn watch(&self) -> io::Result<AsyncFd<OwnedFd>> {
        let descriptor = self.descriptor.try_clone()?;
        // SAFETY: the descriptor is owned by the result, which neither closes nor replaces it before its end.
        Ok(unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?)
    }

    /// Fetches what is ready now, without waiting. Answers how many there are.
    pub(crate) fn fetch(&mut self) -> io::Result<usize> {
        let capacity = libc::c_int::try_from(self.events.len()).unwrap_or(libc::c_int::MAX);
        // SAFETY: the list is as long as the system is told.
        let count = checked(unsafe {
            libc::epoll_wait(self.descriptor.as_raw_fd(), self.events.as_mut_ptr(), capacity, 0)
        })?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// The event at `index` of those last fetched.
    pub(crate) fn event(&self, index: usize) -> Option<Readiness> {
        let event = self.events.get(index)?;
        let flags = event.events;
        Some(Readiness {
            token: event.u64,
            readable: flags & libc::EPOLLIN as u32 != 0,
            failed: flags & libc::EPOLLERR as u32 != 0,
        })
    }
}

impl std::fmt::Debug for Epoll {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Epoll").field("descriptor", &self.descriptor).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, os::fd::AsFd};

    use super::*;

    #[test]
    fn a_socket_stays_ready_until_it_is_read_and_leaves_when_closed() {
        let mut epoll = Epoll::new(4).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        epoll.add(socket.as_fd(), 7).unwrap();
        assert_eq!(epoll.fetch().unwrap(), 0);

        socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
        for _ in 0..2 {
            assert_eq!(epoll.fetch().unwrap(), 1);
            assert_eq!(epoll.event(0), Some(Readiness { token: 7, readable: true, failed: false }));
        }
        drop(socket);
        assert_eq!(epoll.fetch().unwrap(), 0);
    }
}
