//! Usernames and addresses of clients, on their way into a log line.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};

static REDACTED: AtomicBool = AtomicBool::new(false);

/// Whether [`Private`] values are left out from now on, in the whole process.
pub fn redact(on: bool) {
    REDACTED.store(on, Ordering::Relaxed);
}

/// Something that says who a client is. Shown as it is, or as `***` if the process redacts.
#[derive(Clone, Copy)]
pub struct Private<T>(pub T);

impl<T: fmt::Display> fmt::Display for Private<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if REDACTED.load(Ordering::Relaxed) { f.write_str("***") } else { self.0.fmt(f) }
    }
}

impl<T: fmt::Display> fmt::Debug for Private<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_values_disappear_when_the_process_redacts() {
        let user = Private("alice");
        assert_eq!(user.to_string(), "alice");
        redact(true);
        let hidden = format!("{user} {user:?}");
        redact(false);
        assert_eq!(hidden, "*** ***");
    }
}
