//! What outlives a restart.

use std::path::PathBuf;

/// Where that is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Store {
    /// The file. `None`: memory only. Default: `iceway.redb` in `$STATE_DIRECTORY` if there is one.
    pub path: Option<PathBuf>,
}

/// How much is kept of who used how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Records of ended allocations that wait to be taken; the oldest are dropped. Default 1 000 000.
    pub records_max: u64,
    /// Days for which there are sums. Default 35.
    pub days: u32,
}

impl Default for Usage {
    fn default() -> Self {
        Self { records_max: 1_000_000, days: 35 }
    }
}
