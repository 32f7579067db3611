//! `iceway credentials`.

use std::{io::BufRead as _, net::IpAddr, path::PathBuf, time::Duration};

use anyhow::{Context as _, anyhow};
use clap::ArgMatches;
use serde_json::json;
use zeroize::Zeroizing;

use super::{exit::Failure, known::Known, now_unix, sources, terminal, utc::utc};
use crate::{
    api::ice_servers::{self, IceServer, Reached},
    config::{self, Config, External, Loaded, read_text},
    credentials::{Claimed, Credential, Verdict, explain},
    runtime::Finder,
};

/// What to do when there is nothing to make or check credentials with.
/// No file with one password in it is larger.
const FILE_BYTES_MAX: u64 = 4096;
const NO_SECRET: &str = "no secret is configured; give --auth-secret-file FILE, or --config FILE, or set \
                         ICEWAY_AUTH_SECRET";

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    match matches.subcommand() {
        Some(("mint", matches)) => mint(matches),
        Some(("verify", matches)) => verify(matches),
        // The parser lets no other through.
        Some(_) | None => Ok(()),
    }
}

fn mint(matches: &ArgMatches) -> Result<(), Failure> {
    let loaded = config::load(&sources(matches))?;
    let user = text(matches, "user");
    let ttl = text(matches, "ttl");
    let duration = config::duration(&ttl)
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| anyhow!("--ttl {ttl:?} is not a duration; write one such as 30m or 24h"))?;
    let credential = mint_for(&loaded, &user, duration)?;
    let reached = ice_servers::configured(&loaded.config);
    let host = matches.get_one::<String>("host").map(String::as_str);
    let uris = match host {
        Some(host) => {
            let external: Vec<External> = loaded.config.relay.configured().collect();
            ice_servers::uris(&reached, &external, Some(host))
        }
        None => ice_servers::node_uris(&loaded.config, &known_outside(&loaded.config, &reached)?, &reached),
    };
    let shown = if matches.get_flag("json") {
        as_json(&credential, duration.as_secs(), &uris)
    } else {
        as_text(&credential, &uris)
    };
    terminal::say(&shown);
    Ok(())
}

/// The public addresses that URIs name, found as a server finds them.
fn known_outside(config: &Config, reached: &Reached) -> anyhow::Result<Vec<External>> {
    let listening: Vec<IpAddr> = reached.iter().map(|(_, address)| address.ip()).collect();
    let is_named = config.node.host.is_some() || !config.node.uris.is_empty();
    let Some(mut finder) = Finder::new(&config.relay, &listening).filter(|_| !is_named) else {
        return Ok(config.relay.configured().collect());
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = runtime.block_on(finder.first());
    runtime.shutdown_background();
    if let Err(error) = found {
        terminal::complain(&format!(
            "warning: the URIs name addresses of this machine: relay.external: {error}"
        ));
    }
    Ok(finder.found().external())
}

/// With the first configured secret; without one with what servers have stored.
fn mint_for(loaded: &Loaded, user: &str, ttl: Duration) -> anyhow::Result<Credential> {
    let configured = loaded.config.directory().context("the credentials cannot be used")?;
    if let Some(credential) = configured.mint(user, ttl, now_unix()) {
        return Ok(credential);
    }
    let known = Known::of(&loaded.config)?;
    known.directory.mint(user, ttl, now_unix()).ok_or_else(|| match known.left_out {
        Some(why) => anyhow!("{NO_SECRET}; stored secrets were not looked at: {why}"),
        None => anyhow!(NO_SECRET),
    })
}

fn as_text(credential: &Credential, uris: &[String]) -> String {
    format!(
        "username  {}\npassword  {}\nexpires   {}\nuris      {}\n\niceServers for RTCPeerConnection:\n{}\n",
        credential.username,
        credential.password.as_str(),
        utc(credential.expires),
        uris.join("\n          "),
        IceServer::new(uris, credential).pretty(),
    )
}

/// The members of draft-uberti-behave-turn-rest, and `iceServers` beside them.
fn as_json(credential: &Credential, ttl: u64, uris: &[String]) -> String {
    let answer = json!({
        "username": credential.username,
        "password": credential.password.as_str(),
        "ttl": ttl,
        "uris": uris,
        "iceServers": [IceServer::new(uris, credential)],
    });
    format!("{answer}\n")
}

fn verify(matches: &ArgMatches) -> Result<(), Failure> {
    let loaded = config::load(&sources(matches))?;
    let Known { directory, revocations, left_out } = Known::of(&loaded.config)?;
    if directory.is_empty() {
        let also = left_out.map(|why| format!("; what servers have stored was not looked at: {why}"));
        let also = also.unwrap_or_default();
        return Err(anyhow!("{NO_SECRET}, or users with auth.users_file{also}").into());
    }
    let (username, password) = (text(matches, "username"), password(matches)?);
    let now = now_unix();
    let verdict = explain(&directory, &username, &password, now).unless_revoked(&revocations, &username, now);
    let (works, mut sentence) = sentence(&verdict, now);
    if !works && !directory.secrets().is_empty() {
        let ids: Vec<&str> = directory.secrets().iter().map(|secret| secret.id().as_str()).collect();
        sentence.push_str(&format!("\nSecrets that were tried: {}.", ids.join(", ")));
    }
    if let Some(why) = left_out {
        sentence.push_str(&format!("\nStored secrets and revocations were not looked at: {why}."));
    }
    terminal::say(&format!("{sentence}\n"));
    if works { Ok(()) } else { Err(Failure::Answered) }
}

/// The verdict for people, and whether it is a yes.
fn sentence(verdict: &Verdict, now: u64) -> (bool, String) {
    match verdict {
        Verdict::Valid { user, expires: None, .. } => (true, format!("Valid: the password of static user {user:?}.")),
        Verdict::Valid { user, expires: Some(expires), key_id, claimed } => {
            let secret = key_id.as_ref().map_or("", |id| id.as_str());
            let until = utc(*expires);
            let claimed = self::claimed(claimed);
            (true, format!("Valid until {until} for user {user:?}, made with secret {secret}{claimed}."))
        }
        Verdict::Revoked { user, key_id, claimed, by, issued_before } => {
            let (claimed, before) = (self::claimed(claimed), utc(*issued_before));
            let text = format!("Revoked by {by}, which ends what was issued up to {before}");
            (false, format!("{text}; for user {user:?}, made with secret {key_id}{claimed}. Mint a new one."))
        }
        Verdict::Expired { since, key_id } => {
            let ago = config::show_duration(Duration::from_secs(now.saturating_sub(*since)));
            (false, format!("Expired since {} ({ago} ago); made with secret {key_id}. Mint a new one.", utc(*since)))
        }
        Verdict::WrongPassword { is_user, tried, expired_since, hint } => {
            let mut text = "Wrong password:".to_owned();
            if *is_user {
                text.push_str(" not the one of this static user.");
            }
            if !tried.is_empty() {
                text.push_str(" made with none of the secrets.");
            }
            if let Some(since) = expired_since {
                text.push_str(&format!(" Besides, the username is expired since {}.", utc(*since)));
            }
            if let Some(hint) = hint {
                text.push_str(&format!(" Hint: {hint}."));
            }
            (false, text)
        }
        Verdict::UnknownUser { has_secrets: true } => (
            false,
            "Unknown user: neither a static user nor a username with an expiry time, such as 1735689600:alice."
                .to_owned(),
        ),
        Verdict::UnknownUser { has_secrets: false } => {
            (false, "Unknown user: not a static user, and no secret is configured.".to_owned())
        }
    }
}

/// What a username says beside the user, each with a comma before it.
fn claimed(claimed: &Claimed) -> String {
    let parts = [
        claimed.issued.map(|issued| format!(", issued {}", utc(issued))),
        claimed.label.as_ref().map(|label| format!(", label {label:?}")),
        claimed.class.as_ref().map(|class| format!(", quota class {class:?}")),
        claimed.expiry.map(|expiry| format!(", expiry {}", expiry.as_str())),
    ];
    parts.into_iter().flatten().collect()
}

fn text(matches: &ArgMatches, name: &str) -> String {
    matches.get_one::<String>(name).cloned().unwrap_or_default()
}

fn password(matches: &ArgMatches) -> anyhow::Result<Zeroizing<String>> {
    if let Some(password) = matches.get_one::<String>("password") {
        return Ok(Zeroizing::new(password.clone()));
    }
    let mut line = Zeroizing::new(String::new());
    match matches.get_one::<PathBuf>("password-file") {
        Some(path) => {
            let text = read_text(path, FILE_BYTES_MAX);
            let text = text.map_err(|error| anyhow!("--password-file {} {error}", path.display()))?;
            line.push_str(text.lines().next().unwrap_or_default());
        }
        None => {
            std::io::stdin()
                .lock()
                .read_line(&mut line)
                .context("cannot read the password from standard input")?;
        }
    }
    Ok(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}
