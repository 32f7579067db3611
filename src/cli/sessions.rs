//! `iceway sessions`: what is relayed now.

use anyhow::anyhow;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::Value;

use super::{
    control_client::{ControlClient, server_flags},
    exit::Failure,
    now_unix,
    table::{self, bytes, duration, query},
    terminal,
};

/// The most of one page of the API.
const PAGE_MAX: u64 = 1000;

const HEADINGS: [&str; 11] =
    ["ID", "USER", "LABEL", "CLIENT", "VIA", "RELAYED", "AGE", "ENDS IN", "SENT", "RECEIVED", "DROPPED"];
const QUALITY: &str = "LOSS, JITTER";

/// The command and its flags.
pub(super) fn command() -> Command {
    Command::new("sessions")
        .about("List what is relayed now, on all nodes, or end one")
        .long_about(
            "List live allocations of all nodes: who, from where, how much was relayed and what was dropped.\n\
             `iceway explain USER` says why somebody has none.\n\n\
             Example: iceway sessions --user bob",
        )
        .args_conflicts_with_subcommands(true)
        .subcommand(
            Command::new("close")
                .about("End one at once")
                .arg(Arg::new("id").value_name("ID").required(true).help("As listed"))
                .args(server_flags()),
        )
        .arg(text("user", "USER", "Only this user's"))
        .arg(text("label", "LABEL", "Only those whose credential has this label"))
        .arg(text("node", "NODE", "Only those of this node"))
        .arg(
            Arg::new("limit")
                .long("limit")
                .value_name("COUNT")
                .value_parser(value_parser!(u64).range(1..=1_000_000))
                .default_value("100")
                .help("At most so many"),
        )
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON for programs"))
        .args(server_flags())
}

/// Lists, or ends one.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    match matches.subcommand() {
        Some(("close", matches)) => close(matches),
        // The parser lets no other through.
        Some(_) | None => list(matches),
    }
}

fn close(matches: &ArgMatches) -> Result<(), Failure> {
    let id = matches.get_one::<String>("id").map_or("", String::as_str);
    let client = ControlClient::of(matches)?;
    client.delete(&format!("/v1/allocations/{}", table::encoded(id)))?.success()?;
    terminal::say(&format!("{id} has ended.\n"));
    Ok(())
}

fn list(matches: &ArgMatches) -> Result<(), Failure> {
    let client = ControlClient::of(matches)?;
    let limit = matches.get_one::<u64>("limit").copied().unwrap_or(PAGE_MAX);
    let given = |name: &'static str| Some((name, matches.get_one::<String>(name)?.clone()));
    let filters: Vec<_> = ["user", "label", "node"].into_iter().filter_map(given).collect();
    let mut found = Found::default();
    let mut after = None;
    loop {
        let wanted = (limit - found.allocations.len() as u64).min(PAGE_MAX);
        let mut asked = filters.clone();
        asked.push(("limit", wanted.to_string()));
        asked.extend(after.take().map(|after| ("after", after)));
        let page = client.get(&format!("/v1/allocations?{}", query(&asked)))?.success()?;
        after = page["next"].as_str().map(str::to_owned);
        found.add(page);
        if after.is_none() || found.allocations.len() as u64 >= limit {
            break;
        }
    }
    found.has_more = after.is_some();
    let shown = if matches.get_flag("json") { found.json() } else { found.text(now_unix()) };
    terminal::say(&shown);
    found.complain()
}

/// All pages together.
#[derive(Default)]
struct Found {
    allocations: Vec<Value>,
    unanswered: Vec<Value>,
    has_more: bool,
}

impl Found {
    fn add(&mut self, mut page: Value) {
        if let Some(Value::Array(more)) = page.get_mut("allocations").map(Value::take) {
            self.allocations.extend(more);
        }
        if let Some(Value::Array(silent)) = page.get_mut("unanswered").map(Value::take) {
            // Each page asks all that are left.
            let is_new = |one: &Value| !self.unanswered.contains(one);
            let silent: Vec<Value> = silent.into_iter().filter(is_new).collect();
            self.unanswered.extend(silent);
        }
    }

    fn json(&self) -> String {
        let all = serde_json::json!({
            "allocations": self.allocations, "unanswered": self.unanswered, "hasMore": self.has_more,
        });
        format!("{all:#}\n")
    }

    fn text(&self, now: u64) -> String {
        if self.allocations.is_empty() {
            return "Nothing is relayed that this asks for.\n".to_owned();
        }
        let with_quality = self.allocations.iter().any(|one| !one["quality"].is_null());
        let mut headings = HEADINGS.to_vec();
        if with_quality {
            headings.push(QUALITY);
        }
        let rows = self.allocations.iter().map(|one| {
            let mut row = cells(one, now);
            if with_quality {
                row.push(quality(&one["quality"]));
            }
            row
        });
        let mut text = table::columns(&headings, rows.collect());
        if self.has_more {
            text.push_str("There are more: --limit, or a filter.\n");
        }
        text
    }

    /// What is missing is told whatever the form of the rest.
    fn complain(&self) -> Result<(), Failure> {
        if self.unanswered.is_empty() {
            return Ok(());
        }
        let say = |node: &Value| format!("{}: {}", table::word(&node["id"]), table::word(&node["reason"]));
        let silent: Vec<String> = self.unanswered.iter().map(say).collect();
        Err(anyhow!("those of some nodes are missing: {}", silent.join("; ")).into())
    }
}

fn cells(one: &Value, now: u64) -> Vec<String> {
    let number = |name: &str| one[name].as_u64().unwrap_or(0);
    let relayed: Vec<String> = one["relayed"].as_array().into_iter().flatten().map(table::word).collect();
    vec![
        table::word(&one["id"]),
        table::word(&one["user"]),
        table::word(&one["label"]),
        table::word(&one["client"]),
        table::word(&one["transport"]),
        relayed.join(","),
        duration(now.saturating_sub(number("created"))),
        duration(number("expires").saturating_sub(now)),
        bytes(number("sentBytes")),
        bytes(number("receivedBytes")),
        dropped(&one["dropped"]),
    ]
}

/// `12 no_permission in, 3 no_channel out`.
fn dropped(all: &Value) -> String {
    let one = |dropped: &Value| {
        let way = if dropped["direction"] == "to_client" { "in" } else { "out" };
        format!("{} {} {way}", dropped["datagrams"].as_u64().unwrap_or(0), table::word(&dropped["reason"]))
    };
    let all: Vec<String> = all.as_array().into_iter().flatten().map(one).collect();
    if all.is_empty() { "-".to_owned() } else { all.join(", ") }
}

/// `out 0.4 % 3 ms, in 0.0 % 2 ms`.
fn quality(quality: &Value) -> String {
    let one = |(name, way): (&str, &str)| {
        let heard = &quality[name];
        let loss = heard["lossRatio"].as_f64()? * 100.0;
        let jitter =
            heard["jitterSeconds"].as_f64().map_or("?".to_owned(), |it| format!("{:.0}", it * 1000.0));
        Some(format!("{way} {loss:.1} % {jitter} ms"))
    };
    let both: Vec<String> = [("toPeer", "out"), ("toClient", "in")].into_iter().filter_map(one).collect();
    if both.is_empty() { "-".to_owned() } else { both.join(", ") }
}

fn text(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn allocation() -> Value {
        json!({
            "id": "n1:0-1", "node": "n1", "user": "bob", "transport": "udp", "client": "192.0.2.1:5000",
            "relayed": ["198.51.100.1:50000"], "created": 1000, "expires": 1900, "sentBytes": 1_500_000,
            "receivedBytes": 12, "dropped": [{"direction": "to_client", "reason": "no_permission", "datagrams": 3}],
        })
    }

    #[test]
    fn a_table_has_a_line_for_each_allocation() {
        let mut found = Found::default();
        found.add(json!({"allocations": [allocation()], "unanswered": []}));

        assert_eq!(
            found.text(1300),
            "ID      USER  LABEL  CLIENT          VIA  RELAYED             AGE  ENDS IN  SENT    RECEIVED  DROPPED\n\
             n1:0-1  bob   -      192.0.2.1:5000  udp  198.51.100.1:50000  5m   10m      1.5 MB  12 B      3 no_permission in\n"
        );
    }

    #[test]
    fn quality_has_a_column_where_it_is_known() {
        let mut one = allocation();
        one["quality"] = json!({"toPeer": {"lossRatio": 0.0123, "jitterSeconds": 0.0041}});
        let mut found = Found::default();
        found.add(json!({"allocations": [one, allocation()]}));

        let text = found.text(1300);
        assert!(text.contains("LOSS, JITTER") && text.contains("out 1.2 % 4 ms"), "{text}");
    }

    #[test]
    fn a_name_cannot_play_tricks_on_a_terminal() {
        let mut one = allocation();
        one["user"] = json!("bob\u{1b}[2J\nroot");
        let mut found = Found::default();
        found.add(json!({"allocations": [one]}));

        assert!(found.text(1300).contains(r"bob\u{1b}[2J\nroot"));
    }
}
