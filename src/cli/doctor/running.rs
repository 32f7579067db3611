//! A running server that looks at itself: on its own side, and on the side of who asks it.

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    finding::{Check, Finding, Level},
    http::Http,
    inside::Inside,
    plan::{Plan, unusable},
    report::Report,
};
use crate::{
    api::{DoctorOrder, DoctorReport, EXAMINATION_TIME_MAX, Service},
    cli::control_client::PACKAGED_SOCKET,
    config::{ConfigError, Loaded, Sources, control_socket},
};

/// Where a server answers what it finds.
const PATH: &str = "/v1/doctor";
/// It is done by then, unless it hangs.
const TIME_MAX: Duration = EXAMINATION_TIME_MAX.saturating_add(Duration::from_secs(4));
const KEYS_SHOWN_MAX: usize = 4;

/// A look of a running server at itself.
pub(in crate::cli) struct Examination {
    /// What it runs with.
    pub(in crate::cli) loaded: Loaded,
    /// The same, read again as a reload would.
    pub(in crate::cli) fresh: Result<Loaded, ConfigError>,
    pub(in crate::cli) service: Service,
}

impl Examination {
    /// Looks in a thread of its own, so that nothing else waits, and answers.
    pub(in crate::cli) fn answer(self, order: DoctorOrder) {
        let begun = thread::Builder::new().name("iceway-doctor".to_owned()).spawn(move || {
            let service = self.service.clone();
            match self.look() {
                Ok(report) => order.answer(&service, report),
                Err(error) => tracing::error!(%error, "The node cannot look at itself."),
            }
        });
        if let Err(error) = begun {
            tracing::error!(%error, "The system refuses a thread to look at the node.");
        }
    }

    fn look(self) -> std::io::Result<DoctorReport> {
        let begun = Instant::now();
        let written = self.written();
        let inside = Inside::of_server(self.loaded, self.service.within()?);
        let plan = Plan::of_server(inside);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (about, mut findings) = runtime.block_on(plan.carry_out(EXAMINATION_TIME_MAX));
        runtime.shutdown_background();
        findings.extend(written);
        Ok(Report::new(about, findings, begun.elapsed()).view(false))
    }

    /// What is written now, beside what the server runs with.
    fn written(&self) -> Vec<Finding> {
        let fresh = match &self.fresh {
            Ok(fresh) => fresh,
            Err(error) => return unusable(error),
        };
        let changes = self.loaded.changes(fresh);
        if changes.is_empty() {
            return vec![Check::Changed.ok("it runs with what is written")];
        }
        let keys: Vec<&str> = changes.iter().take(KEYS_SHOWN_MAX).map(|change| change.key).collect();
        let more = changes.len().saturating_sub(keys.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let needs_restart = changes.iter().any(|change| change.needs_restart);
        let mend = if needs_restart {
            "`iceway reload --dry-run` says what a reload takes over, and what needs a restart"
        } else {
            "take it over with `iceway reload`"
        };
        vec![Check::Changed.warning(format!("written otherwise since: {}{more}", keys.join(", "))).mend(mend)]
    }
}

/// The control socket of a server of this machine, if there is one.
pub(super) fn socket(sources: &Sources) -> Option<PathBuf> {
    let (configured, _) = control_socket(sources);
    [configured, Some(PACKAGED_SOCKET.into())].into_iter().flatten().find(|path| path.exists())
}

/// What a server said of itself.
pub(super) struct Told {
    /// Its first line, without the name of the program.
    pub(super) about: String,
    pub(super) findings: Vec<Finding>,
}

/// Asks a server what it finds.
///
/// # Errors
/// It does not say; the finding says why.
pub(super) async fn ask(http: &Http) -> Result<Told, Finding> {
    let check = Check::Report;
    let reply = http.get_within(PATH, TIME_MAX).await;
    let reply = reply.map_err(|why| check.skipped(format!("the server does not say: {why}")))?;
    match reply.status {
        200 => read(&reply.json()).ok_or_else(|| check.skipped("the server answers no report")),
        401 | 403 => Err(check
            .skipped("what the server finds itself is for administrators")
            .mend("a key with the scope admin shows it too, or `iceway doctor` on its machine")),
        404 => Err(check.skipped("the server is of a version that does not look at itself")),
        _ => Err(check.skipped(format!("the server does not say: {}", reply.problem()))),
    }
}

fn read(report: &Value) -> Option<Told> {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let about = text(report, "about")?;
    let about = about.strip_prefix("iceway doctor · ").unwrap_or(&about).to_owned();
    let lines = report.get("checks")?.as_array()?;
    let findings = lines.iter().filter_map(|line| {
        let id = text(line, "id")?;
        let subject = text(line, "subject").unwrap_or_default();
        // Another version may have other checks.
        let (check, subject) = match Check::of_id(&id) {
            Some(check) => (check, subject),
            None => (Check::Report, format!("{id} {subject}").trim_end().to_owned()),
        };
        let level = Level::of_name(&text(line, "level")?)?;
        Some(Finding { check, subject, level, fact: text(line, "fact")?, mend: text(line, "mend") })
    });
    Some(Told { about, findings: findings.collect() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reports_of_other_versions_are_read_too() {
        let told = read(&json!({ "about": "iceway doctor · node a", "checks": [
            { "id": "reach.udp", "subject": "192.0.2.1:3478", "level": "ok", "fact": "works" },
            { "id": "future.check", "level": "warning", "fact": "is new", "mend": "mend it" },
            { "id": "policy.realm", "level": "unheard of", "fact": "x" },
        ]}));
        let told = told.unwrap();
        assert_eq!(told.about, "node a");
        assert_eq!(
            told.findings,
            [
                Check::Udp.ok("works").of("192.0.2.1:3478"),
                Check::Report.warning("is new").of("future.check").mend("mend it"),
            ]
        );
        assert!(read(&json!({ "hello": "world" })).is_none());
    }
}
