//! What is looked at, from where, and with what.

use std::{
    collections::HashSet,
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::anyhow;
use clap::{ArgMatches, parser::ValueSource};
use futures_util::future::{BoxFuture, FutureExt as _, join_all};
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use super::{
    clock,
    command::{KEY_VARIABLE, PASSWORD_VARIABLE, USERNAME_VARIABLE, VARIABLES},
    finding::{Check, Finding, Level, shown},
    http::Http,
    inside::Inside,
    reach::{self, Client},
    relay::Credential,
    running, server, signaling,
    target::Target,
    tls::Authorities,
};
use crate::{
    cli::{exit::Failure, sources},
    config::{ConfigError, Sources, read_text},
};

/// No file with one secret in it is larger.
const FILE_BYTES_MAX: u64 = 4096;

/// What is looked at.
pub(super) struct Plan {
    /// The node of this machine, if it is looked at.
    inside: Option<Result<Box<Inside>, ConfigError>>,
    /// The server of this machine, which looks at itself unless something else is named.
    socket: Option<PathBuf>,
    /// URIs that were named.
    targets: Vec<Target>,
    /// The API that was named.
    server: Option<String>,
    key: Option<Zeroizing<String>>,
    given: Option<Credential>,
    stun: Vec<String>,
    peers: Vec<String>,
    origin: Option<String>,
    authorities: anyhow::Result<Authorities>,
}

impl Plan {
    /// # Errors
    /// A flag cannot be understood, or a file cannot be read.
    pub(super) fn of(matches: &ArgMatches) -> Result<Self, Failure> {
        let texts =
            |name: &str| matches.get_many::<String>(name).into_iter().flatten().cloned().collect::<Vec<_>>();
        let text = |name: &str| matches.get_one::<String>(name).cloned();
        let file = |name: &str| matches.get_one::<PathBuf>(name).map(PathBuf::as_path);
        let targets = texts("target").iter().map(|uri| Target::parse(uri)).collect::<Result<Vec<_>, _>>();
        let targets = targets.map_err(|why| anyhow!("--target {why}"))?;
        let (server, sources) = (text("server"), own_sources(matches));
        let is_outside = !targets.is_empty() || server.is_some();
        let is_inside = !is_outside || sources.file.is_some() || !sources.flags.is_empty();
        let has_wishes = ["stun", "origin", "username", "ca-file"]
            .iter()
            .any(|name| matches.value_source(name) == Some(ValueSource::CommandLine));
        let is_unnamed = !is_outside && sources.file.is_none() && sources.flags.is_empty() && !has_wishes;
        let authorities = Authorities::read(file("ca-file"));
        if file("ca-file").is_some()
            && let Err(error) = &authorities
        {
            return Err(anyhow!("{error:#}").into());
        }
        Ok(Self {
            inside: is_inside.then(|| Inside::of(&sources)),
            socket: if is_unnamed { running::socket(&sources) } else { None },
            targets,
            server,
            key: secret(file("key-file"), "--key-file", KEY_VARIABLE)?,
            given: given(text("username"), file("password-file"))?,
            stun: texts("stun"),
            peers: texts("peer"),
            origin: text("origin"),
            authorities,
        })
    }

    /// What a server looks at by itself.
    pub(super) fn of_server(inside: Inside) -> Self {
        Self {
            inside: Some(Ok(Box::new(inside))),
            socket: None,
            targets: Vec::new(),
            server: None,
            key: None,
            given: None,
            stun: Vec::new(),
            peers: Vec::new(),
            origin: None,
            authorities: Authorities::read(None),
        }
    }

    /// The first line of the report.
    fn about(&self) -> String {
        let mut parts = Vec::new();
        match &self.inside {
            Some(Ok(inside)) => parts.push(inside.about()),
            Some(Err(_)) => parts.push("node of this machine".to_owned()),
            None => {}
        }
        parts.extend(self.server.clone());
        if self.server.is_none() && !self.targets.is_empty() {
            let hosts: std::collections::BTreeSet<&str> =
                self.targets.iter().map(|target| target.host.as_str()).collect();
            parts.extend(hosts.into_iter().map(str::to_owned));
        }
        headline(&parts.join(" · "))
    }

    /// Looks at everything at once, for no longer than `limit`; the first line of the report, and what was found.
    pub(super) async fn carry_out(&self, limit: Duration) -> (String, Vec<Finding>) {
        let over = Instant::now() + limit;
        let mut work: Vec<(&str, BoxFuture<'_, Vec<Finding>>)> = Vec::new();
        let told = match &self.socket {
            Some(path) => running::ask(&Http::socket(path.clone())).await.ok(),
            None => None,
        };
        let about = told.as_ref().map_or_else(|| self.about(), |told| headline(&told.about));
        let mut findings = told.map(|told| told.findings);
        match self.inside.as_ref().filter(|_| findings.is_none()) {
            Some(Ok(inside)) => work.extend(inside.work(self)),
            Some(Err(error)) => work.push(("the configuration", async { unusable(error) }.boxed())),
            None => {}
        }
        if !self.targets.is_empty() || self.server.is_some() {
            work.push(("the server from outside", self.outside().boxed()));
        }
        work.push(("other clocks", clock::peers(&self.peers, self.authorities()).boxed()));
        let looking = work.into_iter().map(|(what, work)| async move {
            timeout_at(over, work).await.unwrap_or_else(|_| {
                let fact = format!("{what}: not done within {}", shown(limit));
                vec![
                    Check::Time
                        .failure(fact)
                        .mend("something there does not answer; give it more time with --timeout"),
                ]
            })
        });
        let found = join_all(looking).await.concat();
        findings.get_or_insert_default().extend(found);
        (about, findings.unwrap_or_default())
    }

    pub(super) fn authorities(&self) -> Option<&Authorities> {
        self.authorities.as_ref().ok()
    }

    pub(super) fn stun(&self) -> &[String] {
        &self.stun
    }

    pub(super) const fn origin(&self) -> Option<&String> {
        self.origin.as_ref()
    }

    /// The API of the server that is looked at from inside: with a key if one was given.
    pub(super) fn http(&self, url: &str) -> anyhow::Result<Http> {
        Http::url(url, self.key.as_ref(), self.authorities())
    }

    /// A credential that was given.
    pub(super) fn given(&self) -> Option<[Credential; 2]> {
        self.given.as_ref().map(|it| [it.clone(), it.clone()])
    }

    async fn outside(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut targets = self.targets.clone();
        let mut credentials = self.given();
        let mut told = Vec::new();
        if let Some(url) = &self.server {
            match self.http(url) {
                Ok(http) => {
                    let api = self.api(&http, &mut targets, &mut credentials);
                    findings.extend(api.await);
                    told = self.told(&http).await;
                }
                Err(error) => {
                    findings.push(Check::Running.failure(error.to_string()).mend("correct --server"))
                }
            }
        }
        if credentials.is_none() && self.server.as_ref().is_none_or(|_| self.key.is_none()) {
            let fact = "none is given, so nothing is relayed";
            let mend = "--server URL --key-file FILE, or --username NAME --password-file FILE";
            findings.push(Check::Credential.skipped(fact).mend(mend));
        }
        let client = Client { credentials, authorities: self.authorities().cloned(), is_inside: false };
        findings.extend(reach::reach(&targets, &client).await);
        // What clients see counts more than what the server sees of the same.
        let own: HashSet<Check> = findings.iter().map(|finding| finding.check).collect();
        told.retain(|finding| finding.level == Level::Failure || !own.contains(&finding.check));
        findings.extend(told);
        findings
    }

    /// What the server finds itself, for administrators.
    async fn told(&self, http: &Http) -> Vec<Finding> {
        if !http.has_access() {
            return Vec::new();
        }
        match running::ask(http).await {
            Ok(told) => {
                let fact = format!("{} looked at itself: {} lines", told.about, told.findings.len());
                [vec![Check::Report.ok(fact)], told.findings].concat()
            }
            Err(finding) => vec![finding],
        }
    }

    async fn api(
        &self,
        http: &Http,
        targets: &mut Vec<Target>,
        credentials: &mut Option<[Credential; 2]>,
    ) -> Vec<Finding> {
        let (running, reply) = server::running(http, false).await;
        let mut findings = vec![running];
        let Some(reply) = reply else { return findings };
        findings.extend(clock::against(&reply).map(|finding| finding.of(http.shown())));
        findings.push(signaling::websocket(http, None).await);
        if let Some(origin) = &self.origin {
            findings.push(signaling::websocket(http, Some(origin)).await);
        }
        if !http.has_access() {
            return findings;
        }
        match server::issue(http).await {
            Ok(issued) => {
                findings.push(
                    Check::Credential.ok(format!("the API gives them, for {} URIs", issued.uris.len())),
                );
                credentials.get_or_insert(issued.credentials);
                if targets.is_empty() {
                    targets.extend(issued.uris.iter().filter_map(|uri| Target::parse(uri).ok()));
                }
            }
            Err(finding) => findings.push(finding),
        }
        findings
    }
}

fn headline(about: &str) -> String {
    format!("iceway doctor · {about}")
}

pub(super) fn unusable(error: &ConfigError) -> Vec<Finding> {
    let mend = "running servers go on with what they read before; `iceway check` says it again";
    error
        .problems
        .iter()
        .map(|problem| Check::Configuration.failure(problem.to_string()).mend(mend))
        .collect()
}

/// The sources of the configuration, without the variables that are for the doctor.
fn own_sources(matches: &ArgMatches) -> Sources {
    let mut sources = sources(matches);
    sources.environment.retain(|(name, _)| !name.to_string_lossy().starts_with(VARIABLES));
    sources
}

/// The first line of a file, or a variable.
fn secret(file: Option<&Path>, flag: &str, variable: &str) -> anyhow::Result<Option<Zeroizing<String>>> {
    let Some(path) = file else {
        return Ok(env::var(variable).ok().filter(|value| !value.is_empty()).map(Zeroizing::new));
    };
    let text =
        read_text(path, FILE_BYTES_MAX).map_err(|error| anyhow!("{flag} {} {error}", path.display()))?;
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() {
        return Err(anyhow!("{flag} {} has no secret in its first line", path.display()));
    }
    Ok(Some(Zeroizing::new(line.to_owned())))
}

fn given(username: Option<String>, file: Option<&Path>) -> anyhow::Result<Option<Credential>> {
    let username = username.or_else(|| env::var(USERNAME_VARIABLE).ok().filter(|value| !value.is_empty()));
    let Some(username) = username else { return Ok(None) };
    let password = secret(file, "--password-file", PASSWORD_VARIABLE)?;
    let password =
        password.ok_or_else(|| anyhow!("--username needs --password-file FILE, or {PASSWORD_VARIABLE}"))?;
    Ok(Some(Credential { username, password }))
}
