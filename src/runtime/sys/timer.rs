//! A timer that is a descriptor, so that it can be watched like a socket.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr,
    time::Duration,
};

use super::{checked, checked_length};

/// A one-shot timer on the monotonic clock.
#[derive(Debug)]
pub(crate) struct Timer {
    descriptor: OwnedFd,
}

impl Timer {
    /// A timer that is not armed.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = libc::TFD_NONBLOCK | libc::TFD_CLOEXEC;
        // SAFETY: no pointers; the result is checked before it is owned.
        let descriptor =
            unsafe { OwnedFd::from_raw_fd(checked(libc::timerfd_create(libc::CLOCK_MONOTONIC, flags))?) };
        Ok(Self { descriptor })
    }

    /// Becomes readable `delay` from now, at once if it is zero; replaces what was armed before.
    pub(crate) fn arm(&self, delay: Duration) -> io::Result<()> {
        // Zero would disarm it.
        let delay = delay.max(Duration::from_nanos(1));
        let setting = libc::itimerspec {
            it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: libc::timespec {
                tv_sec: libc::time_t::try_from(delay.as_secs()).unwrap_or(libc::time_t::MAX),
                tv_nsec: libc::c_long::from(delay.subsec_nanos()),
            },
        };
        // SAFETY: the setting lives across the call; null asks for no old setting.
        checked(unsafe {
            libc::timerfd_settime(self.descriptor.as_raw_fd(), 0, &raw const setting, ptr::null_mut())
        })?;
        Ok(())
    }

    /// Makes it unreadable again after it has fired.
    pub(crate) fn acknowledge(&self) -> io::Result<()> {
        let mut expirations = [0_u8; 8];
        // SAFETY: the buffer lives across the call and is as long as the system is told.
        checked_length(unsafe {
            libc::read(self.descriptor.as_raw_fd(), expirations.as_mut_ptr().cast(), expirations.len())
        })?;
        Ok(())
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::sys::Epoll;

    #[test]
    fn a_timer_fires_once_and_is_quiet_when_acknowledged() {
        let timer = Timer::new().unwrap();
        let mut epoll = Epoll::new(1).unwrap();
        epoll.add(timer.as_fd(), 1).unwrap();
        timer.arm(Duration::from_secs(3600)).unwrap();
        assert_eq!(epoll.fetch().unwrap(), 0);
        timer.arm(Duration::ZERO).unwrap();
        while epoll.fetch().unwrap() == 0 {
            std::thread::yield_now();
        }
        timer.acknowledge().unwrap();
        assert_eq!(epoll.fetch().unwrap(), 0);
    }
}
