//! Logging with redaction, and the one table of metrics.

mod clock;
mod log;
mod metrics;
mod private;
mod process;
mod seldom;

pub use clock::{clock_jumps, settled_millis, settled_seconds, uptime};
pub use log::{LogError, LogHandle, LogOptions, init};
pub use metrics::{Distribution, Kind, METRICS, Metric, Sheet, metric};
pub use private::{Private, redact};
pub use process::Process;
pub use seldom::{Seldom, SeldomEach};
