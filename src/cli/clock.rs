//! An eye on the clock.

use std::time::Duration;

use crate::telemetry::settled_millis;

/// How soon a jump is noticed.
const EVERY: Duration = Duration::from_secs(1);

/// Notices jumps of the clock, each of which is named then. Ends only when it is dropped.
pub(super) async fn watch() {
    loop {
        let _time = settled_millis();
        tokio::time::sleep(EVERY).await;
    }
}
