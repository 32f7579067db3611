//! The binary proved against real counterparts: coturn's clients, the `turn` crate, aiortc, Chromium, and clients of
//! our own behind a NAT or with bad intentions. `tests/run` installs the counterparts; without one its tests fail.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test may fail by panicking and say why")]

mod aiortc;
mod amplification;
mod browser;
mod first_run;
mod hostile;
mod lifecycle;
mod metrics;
mod nat;
mod pressure;
mod stunclient;
mod support;
mod turn_crate;
mod uclient;
