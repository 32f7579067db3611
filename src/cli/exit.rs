//! How commands end.

use std::{fmt, io, process::ExitCode};

use crate::runtime::descriptors;

/// The exit codes of every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done; for `serve`: ended as asked.
    Ok,
    /// It could not be done, or the answer is no.
    Failed,
    /// The command line is not understood.
    Usage,
    /// The configuration is wrong (EX_CONFIG of sysexits.h); a restart does not help.
    Configuration,
}

/// Every exit code with its meaning.
pub const EXIT_CODES: [(Exit, &str); 4] = [
    (Exit::Ok, "Done; for `serve`: ended as asked, by SIGTERM or SIGINT."),
    (Exit::Failed, "It could not be done, or the answer is no: a port is taken, a credential is not valid."),
    (Exit::Usage, "The command line is not understood."),
    (Exit::Configuration, "The configuration is wrong. All errors are listed; starting again does not help."),
];

impl Exit {
    /// The number the process ends with.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Configuration => 78,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(super) enum Failure {
    /// Ends with [`Exit::Failed`].
    Failed(anyhow::Error),
    /// The answer is no and has been given: ends with [`Exit::Failed`] and no further word.
    Answered,
    /// Ends with [`Exit::Configuration`].
    Configuration(String),
}

impl Failure {
    pub(super) const fn exit(&self) -> Exit {
        match self {
            Self::Failed(_) | Self::Answered => Exit::Failed,
            Self::Configuration(_) => Exit::Configuration,
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) if is_shortage(error) => write!(f, "{error}; {}", descriptors::MEND),
            Self::Failed(error) => write!(f, "{error:#}"),
            Self::Answered => Ok(()),
            Self::Configuration(text) => f.write_str(text),
        }
    }
}

/// Whether descriptors are used up: whatever was tried, the mend is the same.
fn is_shortage(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>()).any(descriptors::are_used_up)
}
