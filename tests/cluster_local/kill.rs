//! Killed at any instant, a node reopens with everything it acknowledged.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use iceway::{
    cluster::{Cluster, NewApiKey, Scope, Scopes, SecretState},
    config::Config,
    credentials::{KeyId, Revocation},
};

use crate::{
    Scratch,
    conformance::{now, relay::record, settings},
};

/// Names the file that a child shall write to.
const FILE: &str = "ICEWAY_TEST_STORE_OF_A_CHILD";
const ROUNDS: u64 = 40;

/// What was acknowledged, and what was about to be removed: that may be gone or not until it is acknowledged.
#[derive(Default)]
struct Acknowledged {
    revocations: BTreeSet<String>,
    keys: BTreeSet<String>,
    secrets: BTreeSet<String>,
    removing: BTreeSet<String>,
    removed: BTreeSet<String>,
    usage: BTreeSet<String>,
    taking: BTreeSet<String>,
    taken: BTreeSet<String>,
}

impl Acknowledged {
    fn note(&mut self, line: &str) {
        let Some((what, id)) = line.split_once(' ') else { return };
        let set = match what {
            "revoked" => &mut self.revocations,
            "key" => &mut self.keys,
            "secret" => &mut self.secrets,
            "removing" => &mut self.removing,
            "removed" => &mut self.removed,
            "usage" => &mut self.usage,
            "taking" => &mut self.taking,
            "taken" => &mut self.taken,
            _ => return,
        };
        set.insert(id.to_owned());
    }
}

fn config(path: &Path) -> Config {
    let mut config = Config::default();
    config.store.path = Some(path.to_owned());
    config
}

#[test]
fn everything_acknowledged_is_there_after_being_killed_at_any_instant() {
    if let Some(path) = std::env::var_os(FILE) {
        return write_until_killed(Path::new(&path));
    }
    let scratch = Scratch::new("kill");
    let mut acknowledged = Acknowledged::default();
    let mut lines = 0;
    for round in 0..ROUNDS {
        let mut writer = Writer::start(&scratch.file());
        // Instants spread over opening, the first commits and full work; the child does not know them.
        let pause = Duration::from_micros(500 + (round * 7919) % 60_000);
        lines += writer.kill_after(pause, round % 4 == 0, &mut acknowledged);
        check(&scratch.file(), &acknowledged);
    }
    assert!(lines > ROUNDS, "children were at work: {lines} acknowledgements");
    assert!(!acknowledged.usage.is_empty() && !acknowledged.secrets.is_empty());
}

/// Reopens the file as a restarted node does.
fn check(path: &Path, acknowledged: &Acknowledged) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let cluster = Cluster::open(&config(path), settings("a")).unwrap();
        let revocations: BTreeSet<String> =
            cluster.revocations().iter().map(|revocation| revocation.id.to_string()).collect();
        assert!(revocations.is_superset(&acknowledged.revocations));
        let keys = cluster.api_keys();
        assert!(acknowledged.keys.iter().all(|id| keys.find(id).is_some()));
        let secrets: BTreeSet<String> = cluster.secrets().await.into_iter().map(|secret| secret.id).collect();
        let kept: BTreeSet<String> =
            acknowledged.secrets.difference(&acknowledged.removing).cloned().collect();
        assert!(secrets.is_superset(&kept), "{kept:?} {secrets:?}");
        assert!(secrets.is_disjoint(&acknowledged.removed));
        let mut usage = BTreeSet::new();
        let mut after: Option<String> = None;
        loop {
            let page = cluster.usage_records(after.as_deref(), 1000).await.unwrap();
            usage.extend(page.records.iter().map(|(_, record)| record.id.clone()));
            after = page.records.last().map(|(cursor, _)| cursor.clone()).or(after);
            if !page.has_more {
                break;
            }
        }
        assert!(usage.is_disjoint(&acknowledged.taken), "taken is taken");
        let kept: BTreeSet<String> = acknowledged.usage.difference(&acknowledged.taking).cloned().collect();
        assert!(usage.is_superset(&kept), "{kept:?} {usage:?}");
    });
}

/// A child process; never outlives its test.
struct Writer(Child);

impl Writer {
    fn start(path: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::everything_acknowledged_is_there_after_being_killed_at_any_instant"])
            .args(["--nocapture", "--test-threads=1"])
            .env(FILE, path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Kills it after the pause, which begins now or with its first acknowledgement, and notes what it acknowledged.
    fn kill_after(&mut self, pause: Duration, at_once: bool, acknowledged: &mut Acknowledged) -> u64 {
        let mut output = BufReader::new(self.0.stdout.take().unwrap());
        let mut lines = 0;
        let mut line = String::new();
        while !at_once && lines == 0 {
            line.clear();
            assert!(output.read_line(&mut line).unwrap() > 0, "the child writes");
            if line.starts_with("ack ") {
                lines += 1;
                acknowledged.note(line.trim_end().trim_start_matches("ack "));
            }
        }
        std::thread::sleep(pause);
        self.0.kill().unwrap();
        self.0.wait().unwrap();
        loop {
            line.clear();
            // A line without its end was never whole.
            if output.read_line(&mut line).unwrap() == 0 || !line.ends_with('\n') {
                return lines;
            }
            if let Some(said) = line.trim_end().strip_prefix("ack ") {
                lines += 1;
                acknowledged.note(said);
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// What the child does: changes everything there is, and says so when it was acknowledged.
fn write_until_killed(path: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let cluster = Cluster::open(&config(path), settings("a")).unwrap();
        let say = |what: &str, id: &str| {
            let mut out = std::io::stdout().lock();
            out.write_all(format!("ack {what} {id}\n").as_bytes()).unwrap();
            out.flush().unwrap();
        };
        let process = std::process::id();
        for n in 0u64.. {
            let id = format!("{process}-{n}");
            revoke(&cluster, &id).await;
            say("revoked", &id);
            for part in 0..3 {
                cluster.record_usage(record(&format!("{id}-{part}"), "a", "bob", now()));
            }
            if n % 3 == 0 {
                let new = NewApiKey {
                    name: "k".to_owned(),
                    scopes: Scopes(vec![Scope::Read]),
                    ..NewApiKey::default()
                };
                if let Ok((key, _)) = cluster.create_api_key(new).await {
                    say("key", &key.id);
                }
            }
            if n % 2 == 0 {
                change_secrets(&cluster, &id, &say).await;
            }
            let page = cluster.usage_records(None, 3).await.unwrap();
            page.records.iter().for_each(|(_, record)| say("usage", &record.id));
            if n % 2 == 1
                && let Some((last, _)) = page.records.last()
            {
                page.records.iter().for_each(|(_, record)| say("taking", &record.id));
                cluster.acknowledge_usage(last).await.unwrap();
                page.records.iter().for_each(|(_, record)| say("taken", &record.id));
            }
        }
    });
}

async fn revoke(cluster: &Cluster, id: &str) {
    let revocation = Revocation {
        id: id.into(),
        username: None,
        user: Some(id.into()),
        label: None,
        key_id: None,
        issued_before: now(),
        expires: now() + 3600,
        cut: true,
    };
    cluster.revoke(revocation).await.unwrap();
}

/// Adds one, and removes the oldest when there are some.
async fn change_secrets(cluster: &Cluster, id: &str, say: &impl Fn(&str, &str)) {
    let secrets = cluster.secrets().await;
    if secrets.len() > 4
        && let Some(oldest) = secrets.iter().min_by_key(|secret| (secret.created, secret.id.clone()))
    {
        let oldest = KeyId::new(&oldest.id).unwrap();
        say("removing", oldest.as_str());
        cluster.remove_secret(&oldest, true).await.unwrap();
        say("removed", oldest.as_str());
    }
    let added = cluster.add_secret(Some(KeyId::new(id).unwrap()), None, SecretState::Next).await.unwrap();
    say("secret", &added.id);
}
