//! The report: for people, and as JSON.

use std::time::Duration;

use super::finding::{Check, Finding, Level, Section, shown};
use crate::api::{DoctorCounts, DoctorLine, DoctorReport};

/// What was looked at, with what was found.
pub(super) struct Report {
    /// For the first line.
    pub(super) about: String,
    pub(super) findings: Vec<Finding>,
    pub(super) took: Duration,
}

/// Terminals are wide enough for this; longer facts run over.
const SUBJECT_CHARS_MAX: usize = 44;

impl Report {
    /// In the order of the table of checks, each thing said once.
    pub(super) fn new(about: String, mut findings: Vec<Finding>, took: Duration) -> Self {
        let place = |check: Check| Check::ALL.iter().position(|known| *known == check);
        findings.sort_by_key(|finding| (finding.check.section(), place(finding.check)));
        let mut said: Vec<Finding> = Vec::with_capacity(findings.len());
        for finding in findings {
            if !said.contains(&finding) {
                said.push(finding);
            }
        }
        Self { about, findings: said, took }
    }

    pub(super) fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    /// Whether the exit status is 0.
    pub(super) fn is_good(&self, strict: bool) -> bool {
        self.count(Level::Failure) == 0 && !(strict && self.count(Level::Warning) > 0)
    }

    /// One line for each finding, and one more for what to do.
    pub(super) fn text(&self, colours: bool) -> String {
        let paint = Paint(colours);
        let mut text = format!("{}\n", paint.bold(&self.about));
        let mut section: Option<Section> = None;
        for finding in &self.findings {
            let of = finding.check.section();
            if section != Some(of) {
                section = Some(of);
                text.push_str(&format!("\n{}\n", paint.bold(of.title())));
            }
            self.line(&mut text, finding, paint);
        }
        text.push_str(&format!("\n{}\n", self.summary(paint)));
        text
    }

    fn line(&self, text: &mut String, finding: &Finding, paint: Paint) {
        let what = what(finding);
        let width = self.width(finding.check.section());
        let gap = " ".repeat(width.saturating_sub(what.chars().count()));
        let fact =
            if finding.level <= Level::Skipped { paint.dim(&finding.fact) } else { finding.fact.clone() };
        text.push_str(&format!("  {} {what}{gap}  {fact}\n", paint.mark(finding.level)));
        if let Some(mend) = &finding.mend {
            text.push_str(&format!("    {} {mend}\n", paint.arrow(finding.level)));
        }
    }

    fn width(&self, section: Section) -> usize {
        let of_section = self.findings.iter().filter(|finding| finding.check.section() == section);
        of_section.map(|finding| what(finding).chars().count()).max().unwrap_or(0).min(SUBJECT_CHARS_MAX)
    }

    fn summary(&self, paint: Paint) -> String {
        let counted = |count: usize, one: &str, many: &str| match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            _ => Some(format!("{count} {many}")),
        };
        let failures = counted(self.count(Level::Failure), "failure", "failures");
        let warnings = counted(self.count(Level::Warning), "warning", "warnings");
        let parts: Vec<String> = [
            failures.map(|text| paint.red(&text)),
            warnings.map(|text| paint.yellow(&text)),
            counted(self.count(Level::Skipped), "skipped", "skipped"),
            Some(paint.green(&format!("{} ok", self.count(Level::Ok) + self.count(Level::Hint)))),
        ]
        .into_iter()
        .flatten()
        .collect();
        format!("{} in {}", parts.join(", "), shown(self.took))
    }

    /// For programs.
    pub(super) fn json(&self, strict: bool) -> String {
        format!("{}\n", serde_json::to_string_pretty(&self.view(strict)).unwrap_or_default())
    }

    /// As the API answers it.
    pub(super) fn view(&self, strict: bool) -> DoctorReport {
        DoctorReport {
            ok: self.is_good(strict),
            about: self.about.clone(),
            version: env!("CARGO_PKG_VERSION"),
            milliseconds: u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            counts: DoctorCounts {
                ok: self.count(Level::Ok),
                hint: self.count(Level::Hint),
                skipped: self.count(Level::Skipped),
                warning: self.count(Level::Warning),
                failure: self.count(Level::Failure),
            },
            checks: self.findings.iter().map(line).collect(),
        }
    }
}

/// The left column: what was looked at, or the check itself.
fn what(finding: &Finding) -> String {
    let id = finding.check.id();
    let name = id.rsplit('.').next().unwrap_or(id).replace('_', " ");
    if finding.subject.is_empty() { name } else { format!("{name} {}", finding.subject) }
}

fn line(finding: &Finding) -> DoctorLine {
    let Finding { check, subject, level, fact, mend } = finding;
    DoctorLine {
        id: check.id(),
        section: check.section().title(),
        name: what(finding),
        subject: Some(subject.clone()).filter(|subject| !subject.is_empty()),
        level: level.as_str(),
        fact: fact.clone(),
        mend: mend.clone(),
    }
}

/// Colours, if there are any.
#[derive(Clone, Copy)]
struct Paint(bool);

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    fn red(self, text: &str) -> String {
        self.with("31", text)
    }

    fn yellow(self, text: &str) -> String {
        self.with("33", text)
    }

    fn green(self, text: &str) -> String {
        self.with("32", text)
    }

    /// Told apart without colours too.
    fn mark(self, level: Level) -> String {
        match level {
            Level::Ok => self.green("✔"),
            Level::Hint => self.dim("·"),
            Level::Skipped => self.dim("–"),
            Level::Warning => self.yellow("▲"),
            Level::Failure => self.red("✘"),
        }
    }

    fn arrow(self, level: Level) -> String {
        match level {
            Level::Ok | Level::Hint | Level::Skipped => self.dim("→"),
            Level::Warning => self.yellow("→"),
            Level::Failure => self.red("→"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn report() -> Report {
        let findings = vec![
            Check::Expiry.hint("a call may outlive its credential").mend("set it"),
            Check::Tcp.failure("nothing listens there").of("192.0.2.1:3478").mend("open the port"),
            Check::Udp.ok("50 of 50 packets").of("192.0.2.1:3478"),
            Check::Udp.ok("50 of 50 packets").of("192.0.2.1:3478"),
        ];
        Report::new("node n1".to_owned(), findings, Duration::from_millis(1200))
    }

    #[test]
    fn the_text_has_sections_marks_and_what_to_do() {
        let expected = "node n1\n\
            \n\
            Ways to the relay\n  \
              ✔ udp 192.0.2.1:3478  50 of 50 packets\n  \
              ✘ tcp 192.0.2.1:3478  nothing listens there\n    \
                → open the port\n\
            \n\
            Policy\n  \
              · expiry  a call may outlive its credential\n    \
                → set it\n\
            \n\
            1 failure, 2 ok in 1.2 s\n";
        assert_eq!(report().text(false), expected);
        assert!(report().text(true).contains("\x1b[31m✘\x1b[0m tcp"));
    }

    #[test]
    fn json_has_the_same_with_stable_names() {
        let value: Value = serde_json::from_str(&report().json(false)).unwrap();
        assert_eq!(value["ok"], false);
        assert_eq!(value["counts"], json!({"ok": 1, "hint": 1, "skipped": 0, "warning": 0, "failure": 1}));
        assert_eq!(
            value["checks"][1],
            json!({"id": "reach.tcp", "section": "Ways to the relay", "name": "tcp 192.0.2.1:3478",
                   "subject": "192.0.2.1:3478", "level": "failure", "fact": "nothing listens there", "mend": "open the port"})
        );
    }

    #[test]
    fn warnings_fail_only_when_they_shall() {
        let report = Report::new(String::new(), vec![Check::Query.warning("allowed")], Duration::ZERO);
        assert!(report.is_good(false) && !report.is_good(true));
    }
}
