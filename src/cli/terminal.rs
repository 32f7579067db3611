//! What commands say. A reader that has gone away is no fault.

use std::io::{self, Write as _};

/// Writes to standard output.
pub(super) fn say(text: &str) {
    let mut out = io::stdout().lock();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Writes to standard error, after the name of the program.
pub(super) fn complain(text: &str) {
    if !text.is_empty() {
        complain_raw(&format!("iceway: {text}\n"));
    }
}

/// Writes to standard error.
pub(super) fn complain_raw(text: &str) {
    let mut err = io::stderr().lock();
    drop(err.write_all(text.as_bytes()).and_then(|()| err.flush()));
}
