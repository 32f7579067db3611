//! What happened to calls, as metrics.

use crate::{
    cluster::{EventFigures, OUTCOMES},
    telemetry::{Sheet, metric},
};

pub(super) fn fill(sheet: &mut Sheet, figures: &EventFigures) {
    sheet.count(&metric::CALLS_ACTIVE, &["ringing"], figures.ringing);
    sheet.count(&metric::CALLS_ACTIVE, &["active"], figures.active);
    sheet.count(&metric::CALLS_CREATED, &[], figures.created);
    for (outcome, count) in OUTCOMES.iter().zip(figures.ended) {
        sheet.count(&metric::CALLS, &[outcome], count);
    }
    for (phase, (count, millis)) in [("ringing", figures.rung), ("answer", figures.answered)] {
        sheet.count(&metric::CALL_SETUPS, &[phase], count);
        sheet.set(&metric::CALL_SETUP_SECONDS, &[phase], millis as f64 / 1000.0);
    }
    sheet.set(&metric::CALLS_SECONDS, &[], figures.talk_millis as f64 / 1000.0);
    sheet.count(&metric::CALLS_PATHS, &["relayed"], figures.relayed.0);
    sheet.count(&metric::CALLS_PATHS, &["direct"], figures.relayed.1);
    sheet.count(&metric::EVENTS_RECORDED, &[], figures.recorded);
    sheet.count(&metric::EVENTS_DROPPED, &["busy"], figures.dropped_busy);
    sheet.count(&metric::EVENTS_DROPPED, &["full"], figures.dropped_full);
    sheet.count(&metric::EVENTS_DROPPED, &["store"], figures.dropped_store);
    sheet.count(&metric::EVENTS_SPOOLED, &[], figures.spooled);
}
