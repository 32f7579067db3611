//! Reading the configuration again while calls run.

use super::{control_client::ControlClient, exit::Failure, serve::log_options, serving::Serving, terminal};
use crate::{
    api::{ReloadFault, ReloadReport},
    cluster::Cluster,
    config::{self, Config, ConfigError, Loaded, Problem},
};
use clap::ArgMatches;
use serde_json::Value;

/// `iceway reload`.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let client = ControlClient::of(matches)?;
    let is_dry = matches.get_flag("dry-run");
    let answer = client.post(if is_dry { "/v1/reload?dryRun=true" } else { "/v1/reload" }, None)?;
    if answer.body["code"] == "configuration_invalid" {
        return Err(Failure::Configuration(refusal(&answer.body)));
    }
    terminal::say(&describe(&answer.success()?));
    Ok(())
}

/// What is wrong, a line for each error.
fn refusal(problem: &Value) -> String {
    let reasons = problem["reasons"].as_array().map_or(&[][..], Vec::as_slice);
    let lines = reasons.iter().filter_map(Value::as_str).map(|reason| format!("\n  {reason}"));
    format!("nothing was changed, the server's configuration has errors:{}", lines.collect::<String>())
}

/// What changed, a line for each key.
fn describe(report: &Value) -> String {
    let changes = report["changes"].as_array().map_or(&[][..], Vec::as_slice);
    let is_dry = report["dryRun"] == true;
    let (now, later): (Vec<&Value>, Vec<&Value>) =
        changes.iter().partition(|change| change["needsRestart"] != true);
    let mut text = match (is_dry, now.is_empty()) {
        (false, true) => "Reloaded; nothing changed.\n".to_owned(),
        (false, false) => "Reloaded:\n".to_owned(),
        (true, true) => "Nothing would change.\n".to_owned(),
        (true, false) => "Would change:\n".to_owned(),
    };
    text.extend(now.into_iter().map(line));
    if !later.is_empty() {
        text.push_str("Takes effect only after a restart:\n");
        text.extend(later.into_iter().map(line));
    }
    let warnings = report["warnings"].as_array().map_or(&[][..], Vec::as_slice);
    text.extend(warnings.iter().filter_map(Value::as_str).map(|warning| format!("Warning: {warning}\n")));
    text
}

fn line(change: &Value) -> String {
    let value = |name: &str| change[name].as_str().unwrap_or("not set").to_owned();
    let key = change["key"].as_str().unwrap_or_default();
    match (value("from"), value("to")) {
        (_, to) if to == "(changed)" => format!("  {key} {to}\n"),
        (from, to) => format!("  {key}: {from} → {to}\n"),
    }
}

impl Serving<'_> {
    /// Takes over what can change while calls run, or says what that would be. A configuration with errors leaves
    /// everything as it was.
    pub(super) async fn reload(&mut self, is_dry: bool) -> Result<ReloadReport, Vec<ReloadFault>> {
        let mut fresh =
            self.read_again().map_err(|error| error.problems.iter().map(fault).collect::<Vec<_>>())?;
        let changes = self.loaded.changes(&fresh);
        self.loaded.keep_fixed(&mut fresh);
        self.check(&fresh.config)?;
        let report = ReloadReport {
            dry_run: is_dry,
            changes: changes.into_iter().map(Into::into).collect(),
            warnings: fresh.warnings.iter().map(ToString::to_string).collect(),
        };
        if !is_dry {
            self.take_over(fresh).await?;
        }
        Ok(report)
    }

    /// What is written now.
    pub(super) fn read_again(&self) -> Result<Loaded, ConfigError> {
        let mut fresh = config::load_again(self.sources, &self.loaded)?;
        if let Some(trial) = &self.trial {
            trial.add_to(&mut fresh);
        }
        Ok(fresh)
    }

    /// Reads again and says what came of it in the log.
    pub(super) async fn reload_and_log(&mut self, is_dry: bool) -> Result<ReloadReport, Vec<ReloadFault>> {
        if is_dry {
            return self.reload(true).await;
        }
        self.notifier.reloading();
        let reloaded = self.reload(false).await;
        self.notifier.reloaded(reloaded.is_ok());
        match &reloaded {
            Ok(report) => log(report),
            Err(faults) => {
                for ReloadFault { key, text } in faults {
                    tracing::error!(key, "Not reloaded: {text}");
                }
            }
        }
        reloaded
    }

    /// Everything that could be wrong beside the values themselves.
    fn check(&self, config: &Config) -> Result<(), Vec<ReloadFault>> {
        let mut faults = Vec::new();
        if let Err(error) = self.node.check_certificates() {
            let text = format!("{error}. The certificate in use stays.");
            faults.push(ReloadFault { key: "tls.certificate".to_owned(), text });
        }
        if let Err(error) = Cluster::check(config) {
            faults.push(ReloadFault { key: String::new(), text: error.to_string() });
        }
        let access = self.service.check(config).into_iter();
        faults.extend(access.map(|error| ReloadFault { key: String::new(), text: error.to_string() }));
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// What was checked a moment ago can still fail: files change. Then the rest goes on as it was.
    async fn take_over(&mut self, fresh: Loaded) -> Result<(), Vec<ReloadFault>> {
        let failed = |key: &str, text: String| vec![ReloadFault { key: key.to_owned(), text }];
        if self.loaded.config.tls.certificate.is_some() {
            self.node.reload_certificates().map_err(|error| {
                failed("tls.certificate", format!("{error}. The certificate in use stays."))
            })?;
        }
        self.control
            .reload(&self.node, &fresh.config)
            .await
            .map_err(|error| failed("", error.to_string()))?;
        self.service.reload(&fresh.config);
        self.log
            .change(&log_options(&fresh.config))
            .map_err(|error| failed("log.filter", error.to_string()))?;
        self.loaded = fresh;
        Ok(())
    }
}

fn fault(problem: &Problem) -> ReloadFault {
    ReloadFault { key: problem.key.clone(), text: problem.to_string() }
}

fn log(report: &ReloadReport) {
    for warning in &report.warnings {
        tracing::warn!("{warning}");
    }
    for change in &report.changes {
        let (key, from, to) = (change.key, change.from.as_deref(), change.to.as_deref());
        if change.needs_restart {
            tracing::warn!(key, from, to, "Changed, but takes effect only after a restart.");
        } else {
            tracing::info!(key, from, to, "Changed.");
        }
    }
    tracing::info!(changes = report.changes.len(), "Reloaded.");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_report_has_a_line_for_each_key() {
        let change = |key: &str, from: Value, to: &str, needs_restart: bool| json!({ "key": key, "from": from, "to": to, "needsRestart": needs_restart });
        let changes = [
            change("log.level", json!("\"info\""), "\"debug\"", false),
            change("auth.secret", Value::Null, "(changed)", false),
            change("relay.port_max", json!("65535"), "60000", true),
        ];
        let report = json!({ "dryRun": false, "changes": changes, "warnings": ["a key is short"] });
        let text = "Reloaded:\n  log.level: \"info\" → \"debug\"\n  auth.secret (changed)\n\
                    Takes effect only after a restart:\n  relay.port_max: 65535 → 60000\nWarning: a key is short\n";
        assert_eq!(describe(&report), text);
        let nothing = |dry_run: bool| describe(&json!({ "dryRun": dry_run, "changes": [], "warnings": [] }));
        assert_eq!(
            (&*nothing(true), &*nothing(false)),
            ("Nothing would change.\n", "Reloaded; nothing changed.\n")
        );
    }
}
