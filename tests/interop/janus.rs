//! Debian's Janus with its TURN REST setting: it fetches credentials from the server and relays its media through it.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::aiortc::python;
use crate::support::namespace::Namespace;
use crate::support::nodes::until;
use crate::support::ports::free_port;
use crate::support::server::API_KEY;
use crate::support::{Http, Process, Server, Setup, Tool};

/// Janus ignores loopback addresses, so everything lives on an address of its own.
const IP: &str = "10.78.0.1";
const START_LIMIT: Duration = Duration::from_secs(30);
const CALL_LIMIT: Duration = Duration::from_secs(120);
/// What Janus is told to name in its request for a credential.
const OPAQUE_ID: &str = "room-42";

#[test]
fn janus_fetches_by_post_and_relays_through_us() {
    janus_relays_through_us("POST");
}

#[test]
fn janus_fetches_by_get_and_relays_through_us() {
    janus_relays_through_us("GET");
}

fn janus_relays_through_us(method: &str) {
    let (machine, other) = (Namespace::new("janus"), Namespace::new("beyond"));
    machine.link(&format!("{IP}/24"), &other, "10.78.0.2/24", "wire");
    let setup = Setup::default()
        // Janus puts the key into the query of a POST, too.
        .with("api.allow_query_key", true)
        .with("listen.udp", format!(r#"["{IP}:3478"]"#))
        .with("listen.tcp", format!(r#"["{IP}:3478"]"#))
        .with("listen.tls", "[]")
        .with("peers.allow", format!(r#"["{IP}/32"]"#));
    let mut server =
        machine.enter(|| Server::start_with(machine.command(env!("CARGO_BIN_EXE_iceway")), setup));
    let port = free_port();
    let _janus = machine.enter(|| start_janus(&machine, &server, method, port));

    let mut call = machine_command(&machine, python("janus.py"));
    call.arg(json!({ "url": format!("http://127.0.0.1:{port}/janus"), "opaque_id": OPAQUE_ID }).to_string());
    let call = Process::start(call, server.directory(), "call");
    machine.enter(|| {
        until("Janus has an allocation for the user it named", CALL_LIMIT, || {
            let page = server.get(&format!("/v1/allocations?user={OPAQUE_ID}")).expect(200).json();
            page["allocations"].as_array().is_some_and(|list| !list.is_empty())
        });
    });
    let run = Tool::of(call, CALL_LIMIT);
    assert!(run.status.success(), "{}", run.output);
    let findings: Value = serde_json::from_str(run.output.lines().last().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{error}: {}", run.output));
    assert_eq!(findings["frames"], json!([["audio", 20], ["video", 20]]), "{findings}");
    assert_eq!(findings["echoes"], 20, "{findings}");
    let relays = relay_ports(&findings);
    assert!(relays.iter().all(|port| server.relay_ports().contains(port)), "{findings}");
    assert!(!server.process.output().contains(API_KEY), "the key is not in the log");
    assert_eq!(server.process.exit(), None);
}

/// Janus with the echo test on its HTTP interface, on 127.0.0.1 of the namespace.
fn start_janus(machine: &Namespace, server: &Server, method: &str, port: u16) -> Process {
    let folder = server.directory().join("janus");
    std::fs::create_dir_all(&folder).unwrap();
    let library = "/usr/lib/x86_64-linux-gnu/janus";
    let general = format!(
        "general: {{ configs_folder = {folder:?}, plugins_folder = \"{library}/plugins\", \
         transports_folder = \"{library}/transports\", events_folder = \"{library}/events\", \
         loggers_folder = \"{library}/loggers\", debug_level = 4 }}\n"
    );
    let nat = format!(
        "nat: {{ turn_rest_api = \"http://{}/turn\", turn_rest_api_key = \"{API_KEY}\", \
         turn_rest_api_method = \"{method}\", allow_force_relay = true }}\n",
        server.http
    );
    let plugins = "plugins: { disable = \"libjanus_sip.so,libjanus_nosip.so,libjanus_streaming.so,\
                   libjanus_voicemail.so,libjanus_recordplay.so,libjanus_lua.so,libjanus_duktape.so\" }\n";
    std::fs::write(folder.join("janus.jcfg"), general + &nat + plugins).unwrap();
    let http =
        format!("general: {{ base_path = \"/janus\", http = true, port = {port}, ip = \"127.0.0.1\" }}\n");
    std::fs::write(folder.join("janus.transport.http.jcfg"), http).unwrap();

    let mut command: Command = machine.command("janus");
    command.arg("-F").arg(&folder);
    let mut janus = Process::start(command, server.directory(), "janus");
    let address = ([127, 0, 0, 1], port).into();
    janus.wait_until("answering", START_LIMIT, |_| {
        Http::get(address, "/janus/info").try_send().is_ok_and(|reply| reply.status == 200)
    });
    janus
}

/// The same command inside a namespace.
fn machine_command(machine: &Namespace, command: Command) -> Command {
    let mut inside = machine.command(command.get_program().to_str().unwrap());
    inside.args(command.get_args());
    inside
}

/// Ports of Janus's candidates that carried the media.
fn relay_ports(findings: &Value) -> Vec<u16> {
    let candidates = findings["remote"].as_array().unwrap();
    assert!(!candidates.is_empty(), "{findings}");
    let port = |candidate: &Value| u16::try_from(candidate[1].as_u64().unwrap()).unwrap();
    candidates.iter().map(port).collect()
}
