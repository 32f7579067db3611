//! `iceway api-keys`.

use anyhow::{Context as _, anyhow};
use clap::ArgMatches;
use ipnet::IpNet;
use serde_json::json;
use zeroize::Zeroizing;

use super::{
    exit::Failure,
    keeper::{Keeper, Kept},
    now_unix, sources, terminal,
    utc::utc,
};
use crate::{
    cluster::{ApiKey, NewApiKey, Scope, Scopes, keys_file_line},
    config::{self, Config},
};

pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    match matches.subcommand() {
        Some(("create", matches)) => create(matches),
        Some(("list", matches)) => list(matches),
        Some(("revoke", matches)) => revoke(matches),
        // The parser lets no other through.
        Some(_) | None => Ok(()),
    }
}

fn create(matches: &ArgMatches) -> Result<(), Failure> {
    let config = config::load(&sources(matches))?.config;
    let new = wanted(matches)?;
    let keeper = Keeper::open(&config)?;
    let (key, text) =
        keeper.with(async |cluster| cluster.create_api_key(new).await)?.map_err(anyhow::Error::new)?;
    if matches.get_flag("json") {
        terminal::say(&as_json(&key, Some(&text), &keeper));
    } else {
        terminal::say(&as_text(&key, &text, &keeper, &config));
    }
    Ok(())
}

fn wanted(matches: &ArgMatches) -> anyhow::Result<NewApiKey> {
    let one = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let many = |name: &str| matches.get_many::<String>(name).into_iter().flatten().map(|text| text.trim());
    let scopes = many("scopes").map(scope).collect::<anyhow::Result<_>>().context("--scopes");
    let networks = many("networks").map(network).collect::<anyhow::Result<_>>().context("--networks");
    let expires = one("ttl").map(|ttl| {
        let ttl = config::duration(ttl).filter(|ttl| !ttl.is_zero()).ok_or_else(|| {
            anyhow!("--ttl {ttl:?} is not a duration; write one such as 90d or 12h, or leave it out")
        })?;
        anyhow::Ok(now_unix().saturating_add(ttl.as_secs()))
    });
    Ok(NewApiKey {
        name: one("name").unwrap_or_default().to_owned(),
        scopes: Scopes(scopes?),
        networks: networks?,
        expires: expires.transpose()?,
    })
}

fn scope(text: &str) -> anyhow::Result<Scope> {
    let found = Scope::ALL.into_iter().find(|scope| scope.as_str() == text);
    found
        .ok_or_else(|| anyhow!("there is no scope {text:?}; there are issue, revoke, read, signal and admin"))
}

fn network(text: &str) -> anyhow::Result<IpNet> {
    let address = || text.parse::<std::net::IpAddr>().ok().map(IpNet::from);
    let found = text.parse().ok().or_else(address);
    found.ok_or_else(|| anyhow!("{text:?} is no network; write one such as 10.0.0.0/8"))
}

fn as_text(key: &ApiKey, text: &Zeroizing<String>, keeper: &Keeper, config: &Config) -> String {
    let line = keys_file_line(key);
    let advice = match &keeper.kept {
        Kept::File(file) => {
            format!("Kept in {}: the server knows it from its next start on.", file.display())
        }
        Kept::Redis => "Kept in Redis: every running node knows it now.".to_owned(),
        Kept::Nowhere { why } => match &config.api.keys_file {
            Some(file) => format!(
                "Not kept: {why}. Add this line to {}, then send the server SIGHUP:\n{line}",
                file.display()
            ),
            None => format!(
                "Not kept: {why}. Write this line into a file that only the server can read, set api.keys_file to it,\n\
                 and restart the server:\n{line}"
            ),
        },
    };
    format!(
        "{}\n\nThis is the only time the key is shown. Callers send it as\n  Authorization: Bearer KEY\n\n{}\n{advice}\n",
        text.as_str(),
        described(key),
    )
}

fn scopes(key: &ApiKey) -> String {
    let names: Vec<&str> = key.scopes.0.iter().map(|scope| scope.as_str()).collect();
    names.join(",")
}

fn described(key: &ApiKey) -> String {
    let networks: Vec<String> = key.networks.iter().map(ToString::to_string).collect();
    let from = if networks.is_empty() { "everywhere".to_owned() } else { networks.join(", ") };
    let until = key.expires.map_or_else(|| "it is revoked".to_owned(), utc);
    format!(
        "id        {}\nname      {}\nscopes    {}\nfrom      {from}\nuntil     {until}\n",
        key.id,
        key.name.escape_debug(),
        scopes(key)
    )
}

fn as_json(key: &ApiKey, text: Option<&Zeroizing<String>>, keeper: &Keeper) -> String {
    let kept = match &keeper.kept {
        Kept::File(_) => "file",
        Kept::Redis => "redis",
        Kept::Nowhere { .. } => "nowhere",
    };
    let mut shown = json!({
        "id": key.id,
        "name": key.name,
        "scopes": key.scopes,
        "networks": key.networks,
        "created": key.created,
        "expires": key.expires,
        "kept": kept,
        "line": keys_file_line(key),
    });
    if let (Some(members), Some(text)) = (shown.as_object_mut(), text) {
        members.insert("key".to_owned(), text.as_str().into());
    }
    format!("{shown:#}\n")
}

fn list(matches: &ArgMatches) -> Result<(), Failure> {
    let config = config::load(&sources(matches))?.config;
    let keeper = Keeper::open(&config)?;
    keeper.must_keep("GET /v1/api-keys")?;
    let keys = keeper.with(async |cluster| cluster.api_keys())?;
    let mut keys: Vec<&ApiKey> = keys.iter().collect();
    keys.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
    if matches.get_flag("json") {
        let lines: Vec<String> = keys.iter().map(|key| as_json(key, None, &keeper)).collect();
        terminal::say(&lines.concat());
        return Ok(());
    }
    if keys.is_empty() {
        terminal::say("There are no API keys. Make one: iceway api-keys create --name NAME --scopes issue\n");
        return Ok(());
    }
    let shown: Vec<String> = keys.iter().map(|key| described(key)).collect();
    terminal::say(&shown.join("\n"));
    Ok(())
}

fn revoke(matches: &ArgMatches) -> Result<(), Failure> {
    let config = config::load(&sources(matches))?.config;
    let id = matches.get_one::<String>("id").cloned().unwrap_or_default();
    let keeper = Keeper::open(&config)?;
    keeper.must_keep(&format!("DELETE /v1/api-keys/{id}"))?;
    let was_there = keeper
        .with(async |cluster| cluster.revoke_api_key(&id).await)?
        .with_context(|| format!("key {id} cannot be revoked"))?;
    if !was_there {
        return Err(
            anyhow!("there is no API key {id:?}; `iceway api-keys list` shows those there are").into()
        );
    }
    terminal::say(&match &keeper.kept {
        Kept::File(_) => format!("Key {id} is revoked.\n"),
        Kept::Redis => format!("Key {id} is revoked on every node.\n"),
        Kept::Nowhere { .. } => String::new(),
    });
    Ok(())
}
