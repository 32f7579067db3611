//! The clock of the kernel itself: what others of this machine compare with.
#![allow(unsafe_code)]

/// Microseconds of CLOCK_MONOTONIC, which begins with the machine. The instants of the standard library are of the same
/// clock, but do not tell its value.
pub(crate) fn monotonic_microseconds() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure lives across the call, which can only fail for clocks that do not exist.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000 + u64::try_from(time.tv_nsec / 1000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_clock_that_runs_since_the_machine_does() {
        let (before, started) = (monotonic_microseconds(), std::time::Instant::now());
        while started.elapsed().as_micros() < 1000 {
            std::thread::yield_now();
        }
        let passed = monotonic_microseconds() - before;
        assert!((1000..1_000_000).contains(&passed), "{passed}");
    }
}
