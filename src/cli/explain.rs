//! `iceway explain`: why a user fails.

use std::fmt::Write as _;

use anyhow::anyhow;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::Value;

use super::{
    control_client::{ControlClient, server_flags},
    exit::Failure,
    now_unix,
    table::{duration, encoded, word},
    terminal, utc,
};

/// The command and its flags.
pub(super) fn command() -> Command {
    Command::new("explain")
        .about("Say why a user was refused or lost datagrams lately, and what to do about it")
        .long_about(
            "Say why a user was refused or lost datagrams lately, on all nodes, newest first, and what to do\n\
             about it: expired, revoked or wrong credentials, quotas, denied peers, peers that were never heard\n\
             of, ports that ran out. Servers remember it within the bounds of `explain.` (config/REFERENCE.md).\n\
             `iceway credentials verify` judges one credential.\n\n\
             Example: iceway explain bob",
        )
        .arg(
            Arg::new("user")
                .value_name("USER")
                .required(true)
                .help("The user, or a username as clients send it"),
        )
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON for programs"))
        .args(server_flags())
}

/// Asks and says.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let user = matches.get_one::<String>("user").map_or("", String::as_str);
    let client = ControlClient::of(matches)?;
    let told = client.get(&format!("/v1/explain/{}", encoded(user)))?.success()?;
    let shown = if matches.get_flag("json") { format!("{told:#}\n") } else { text(&told, now_unix()) };
    terminal::say(&shown);
    let silent = list(&told, "unanswered");
    if silent.is_empty() {
        return Ok(());
    }
    let say = |node: &Value| format!("{}: {}", word(&node["id"]), word(&node["reason"]));
    let silent: Vec<String> = silent.iter().map(say).collect();
    Err(anyhow!("what some nodes know is missing: {}", silent.join("; ")).into())
}

fn list<'v>(told: &'v Value, name: &str) -> &'v [Value] {
    told[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(told: &Value, now: u64) -> String {
    let (user, incidents) = (word(&told["user"]), list(told, "incidents"));
    let live = list(told, "allocations").len();
    let mut text = match live {
        0 => format!("{user} has no live allocation"),
        1 => format!("{user} has 1 live allocation (iceway sessions --user {user})"),
        _ => format!("{user} has {live} live allocations (iceway sessions --user {user})"),
    };
    match incidents.len() {
        0 => text.push_str(", and nothing is known to have gone wrong.\n"),
        1 => text.push_str("; 1 thing went wrong:\n"),
        count => {
            let _written = writeln!(text, "; {count} things went wrong, the newest first:");
        }
    }
    for incident in incidents {
        one(&mut text, incident, now);
    }
    if live == 0 && incidents.is_empty() {
        text.push_str(
            "Then no request of this user reached a server lately, or it is longer ago than servers remember: see what the\n\
             client was given as its ICE servers, and whether a firewall lets it through (iceway doctor).\n",
        );
    }
    let forgetful: Vec<String> = list(told, "forgetful").iter().map(word).collect();
    if !forgetful.is_empty() {
        let _written =
            writeln!(text, "Nothing is remembered (explain.enabled) on: {}.", forgetful.join(", "));
    }
    text
}

fn one(text: &mut String, incident: &Value, now: u64) {
    let number = |name: &str| incident[name].as_u64().unwrap_or(0);
    let (first, last, count) = (number("first"), number("last"), number("count"));
    let when = if incident["live"] == true {
        "now".to_owned()
    } else {
        format!("{} ({} ago)", utc::utc(last), duration(now.saturating_sub(last)))
    };
    let often = if count > 1 {
        format!(", {count} times since {} ago", duration(now.saturating_sub(first)))
    } else {
        String::new()
    };
    let (node, transport, client) =
        (word(&incident["node"]), word(&incident["transport"]), word(&incident["client"]));
    let claimed = if incident["proved"] == false {
        "\n  Nobody proved to be this user: it may be anybody."
    } else {
        ""
    };
    let (what, mend) = (word(&incident["what"]), word(&incident["mend"]));
    let _written =
        write!(text, "\n{when}{often}; {transport} {client}, node {node}\n  {what}{claimed}\n  → {mend}\n");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_incident_is_a_paragraph_with_its_mend() {
        let told = json!({"user": "bob", "allocations": [], "incidents": [{
            "node": "n1", "cause": "expired", "request": "allocate", "proved": false, "live": false, "count": 3,
            "first": 1_763_829_000, "last": 1_763_829_600, "client": "192.0.2.1:5000", "transport": "udp",
            "what": "It expired.", "mend": "Mint anew.",
        }]});

        assert_eq!(
            text(&told, 1_763_829_660),
            "bob has no live allocation; 1 thing went wrong:\n\n\
             2025-11-22 16:40:00 UTC (1m ago), 3 times since 11m ago; udp 192.0.2.1:5000, node n1\n  \
             It expired.\n  Nobody proved to be this user: it may be anybody.\n  → Mint anew.\n"
        );
    }

    #[test]
    fn where_nothing_is_known_the_next_steps_are_told() {
        let told = json!({"user": "bob", "allocations": [], "incidents": [], "forgetful": ["n2"]});
        let text = text(&told, 0);

        assert!(text.starts_with("bob has no live allocation, and nothing is known"), "{text}");
        assert!(text.contains("iceway doctor") && text.contains("(explain.enabled) on: n2."), "{text}");
    }
}
