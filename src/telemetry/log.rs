//! Where log lines go and what they look like.
//!
//! Levels: ERROR, somebody must act; WARN, a surprise, rate-limited; INFO, start, reload, drain; DEBUG, the life of
//! allocations with usernames and addresses; TRACE, packets. Secrets and passwords at none. Names of fields:
//! `five_tuple`, `allocation`, `peer`, `user`, `node`, `reason`.

use std::io::IsTerminal as _;

use tracing_subscriber::{
    EnvFilter, Layer as _, Registry, filter::ParseError, fmt, layer::SubscriberExt as _, reload,
    util::SubscriberInitExt as _,
};

/// How to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// A level (`info`), or levels per module in the syntax of `RUST_LOG`.
    pub filter: String,
    /// One JSON object a line instead of text.
    pub json: bool,
    /// Leave usernames and client addresses out; see [`redact`](super::redact).
    pub redact: bool,
}

/// Why logging cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The filter is not understood.
    #[error("the log filter {filter:?} is not understood: {source}; write a level, or module=level pairs")]
    Filter {
        /// As it was given.
        filter: String,
        /// Why.
        source: ParseError,
    },
    /// [`init`] was called before.
    #[error("logging has begun already")]
    Again,
}

/// Changes the filter of a running process.
#[derive(Clone, Debug)]
pub struct LogHandle(reload::Handle<EnvFilter, Registry>);

impl LogHandle {
    /// Replaces the filter and the redaction; the form of the lines stays.
    ///
    /// # Errors
    /// [`LogError::Filter`]; then nothing changes.
    pub fn change(&self, options: &LogOptions) -> Result<(), LogError> {
        let filter = parse(&options.filter)?;
        super::redact(options.redact);
        self.0.reload(filter).map_err(|_| LogError::Again)
    }
}

/// Begins to log to standard error. Once per process.
///
/// # Errors
/// See [`LogError`].
pub fn init(options: &LogOptions) -> Result<LogHandle, LogError> {
    let (filter, handle) = reload::Layer::new(parse(&options.filter)?);
    let lines = if options.json {
        fmt::layer().json().flatten_event(true).with_writer(std::io::stderr).boxed()
    } else {
        fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr).boxed()
    };
    super::redact(options.redact);
    tracing_subscriber::registry().with(filter).with(lines).try_init().map_err(|_| LogError::Again)?;
    Ok(LogHandle(handle))
}

fn parse(filter: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::builder()
        .parse(filter)
        .map_err(|source| LogError::Filter { filter: filter.to_owned(), source })
}
