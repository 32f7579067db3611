//! Reading files that somebody else wrote: bounded in bytes and in time.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use zeroize::Zeroizing;

/// How long a pipe may keep its reader waiting.
const PIPE_TIME_MAX: Duration = Duration::from_secs(5);
/// How long to wait before a pipe is asked again.
const PIPE_PAUSE: Duration = Duration::from_millis(10);

/// Why a file cannot be used: what follows its name in a sentence, with what to do.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system refuses.
    #[error("cannot be read: {0}; check the path and its permissions")]
    Unreadable(#[from] io::Error),
    /// A pipe without anybody at its other end, or with somebody who is too slow.
    #[error("is a pipe that nothing comes from; name a file, or have something written to it")]
    Silent,
    /// There is more in it than makes sense.
    #[error("is larger than {0} bytes; is this the right file?")]
    TooLarge(u64),
    /// It should be a text.
    #[error("is not a text: byte {0} is not UTF-8; is this the right file?")]
    NotText(usize),
}

/// Reads a file of at most `bytes_max`. What was read is wiped when it is dropped. A pipe is read until its end, but not
/// waited for forever.
///
/// # Errors
/// See [`ReadError`].
pub fn read_file(path: &Path, bytes_max: u64) -> Result<Zeroizing<Vec<u8>>, ReadError> {
    let file = open(path)?;
    let metadata = file.metadata()?;
    // The whole of it at once: a vector that grows leaves copies behind.
    let expected = metadata.len().min(bytes_max) + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(expected).unwrap_or(0)));
    let mut limited = file.take(bytes_max + 1);
    let over = Instant::now() + PIPE_TIME_MAX;
    loop {
        match limited.read_to_end(&mut bytes) {
            Ok(_) => break,
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error.into()),
            Err(_) if Instant::now() >= over => return Err(ReadError::Silent),
            Err(_) => sleep(PIPE_PAUSE),
        }
    }
    if bytes.is_empty() && metadata.file_type().is_fifo() {
        return Err(ReadError::Silent);
    }
    if bytes.len() as u64 > bytes_max { Err(ReadError::TooLarge(bytes_max)) } else { Ok(bytes) }
}

/// Reads a text of at most `bytes_max`, as [`read_file`] does.
///
/// # Errors
/// See [`ReadError`].
pub fn read_text(path: &Path, bytes_max: u64) -> Result<Zeroizing<String>, ReadError> {
    let mut bytes = read_file(path, bytes_max)?;
    String::from_utf8(std::mem::take(&mut *bytes)).map(Zeroizing::new).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        drop(Zeroizing::new(error.into_bytes()));
        ReadError::NotText(at)
    })
}

/// Whether a file can be opened, without reading it.
///
/// # Errors
/// [`ReadError::Unreadable`].
pub(super) fn check_readable(path: &Path) -> Result<(), ReadError> {
    open(path).map(drop).map_err(ReadError::from)
}

/// Opens a file without waiting for whoever has the other end of a pipe.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _, path::PathBuf, process::Command, thread};

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("iceway-read-{}-{name}", std::process::id()));
        drop(fs::remove_file(&path));
        path
    }

    fn pipe(name: &str) -> PathBuf {
        let path = scratch(name);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        path
    }

    #[test]
    fn a_file_may_be_as_large_as_its_bound_and_no_larger() {
        let path = scratch("bound");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read_text(&path, 5).unwrap().as_str(), "12345");
        assert!(matches!(read_text(&path, 4), Err(ReadError::TooLarge(4))));
        assert!(matches!(read_file(Path::new("/dev/zero"), 1000), Err(ReadError::TooLarge(1000))));
        assert_eq!(read_file(Path::new("/dev/null"), 5).unwrap().as_slice(), b"");
        fs::write(&path, [b'a', 0xff]).unwrap();
        assert!(matches!(read_text(&path, 5), Err(ReadError::NotText(1))));
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn nobody_is_waited_for_at_a_pipe_without_a_writer() {
        let path = pipe("nobody");
        assert!(matches!(read_file(&path, 5), Err(ReadError::Silent)));
        assert!(check_readable(&path).is_ok());
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_pipe_is_read_to_its_end() {
        let path = pipe("slow");
        let writer = {
            // Whoever opens it for both does not wait for the other end.
            let mut pipe = OpenOptions::new().read(true).write(true).open(&path).unwrap();
            pipe.write_all(b"one ").unwrap();
            thread::spawn(move || {
                sleep(PIPE_PAUSE * 3);
                pipe.write_all(b"two").unwrap();
            })
        };
        assert_eq!(read_text(&path, 100).unwrap().as_str(), "one two");
        writer.join().unwrap();
        fs::remove_file(path).unwrap();
    }
}
