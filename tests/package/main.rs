//! What an operator installs: the Debian package and its unit under a real systemd, the files of the container image.
//! `tests/install` installs systemd, cargo-deb and hadolint; without them these tests fail.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking and say why")]

mod built;
mod held;
mod image;
mod life;
mod machine;
mod unit;
