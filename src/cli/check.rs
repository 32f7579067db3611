//! `iceway check`.

use super::{exit::Failure, now_unix, terminal, utc::utc};
use crate::{
    config::{Sources, load},
    runtime::check_certificate,
};

/// Checks the configuration; with `show`, prints every value.
pub(super) fn run(sources: &Sources, show: bool) -> Result<(), Failure> {
    let loaded = load(sources)?;
    let certificate = check_certificate(&loaded.config.tls)?;
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
    if let Some(certificate) = certificate {
        let state = if certificate.not_after < now_unix() { "expired on" } else { "is valid until" };
        terminal::say(&format!("The certificate {state} {}.\n", utc(certificate.not_after)));
    }
    if !loaded.has_credentials() {
        terminal::say(
            "No secret and no users are configured: `iceway serve` will generate a secret and print a credential to \
             try it with.\n",
        );
    }
    Ok(())
}
