//! `iceway check`.

use super::{exit::Failure, terminal};
use crate::config::{Sources, load};

/// Checks the configuration; with `show`, prints every value.
pub(super) fn run(sources: &Sources, show: bool) -> Result<(), Failure> {
    let loaded = load(sources)?;
    for warning in &loaded.warnings {
        terminal::complain(&format!("warning: {warning}"));
    }
    if show {
        terminal::say(&loaded.show());
        return Ok(());
    }
    let what = match &loaded.file {
        Some(file) => format!("{} is", file.display()),
        None => "No file is named; defaults, environment and flags are".to_owned(),
    };
    terminal::say(&format!("{what} correct.\n"));
    if !loaded.has_credentials() {
        terminal::say(
            "No secret and no users are configured: `iceway serve` will generate a secret and print a credential to \
             try it with.\n",
        );
    }
    Ok(())
}
