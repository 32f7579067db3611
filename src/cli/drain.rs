//! `iceway drain`.

use anyhow::anyhow;
use clap::ArgMatches;

use super::{control_client::ControlClient, exit::Failure, terminal};

/// Has a node drain.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let client = ControlClient::of(matches)?;
    let node = match matches.get_one::<String>("node") {
        Some(node) => node.clone(),
        None => own_name(&client)?,
    };
    let answer = client.post(&format!("/v1/nodes/{node}/drain"), None)?.success()?;
    let allocations = answer["allocations"].as_u64().unwrap_or(0);
    terminal::say(&format!("Node {node} drains; allocations left: {allocations}.\n"));
    Ok(())
}

/// The node that answers is the first it names.
fn own_name(client: &ControlClient) -> Result<String, Failure> {
    let nodes = client.get("/v1/nodes")?.success()?;
    let name = nodes["nodes"][0]["id"].as_str();
    Ok(name.ok_or_else(|| anyhow!("the server names no node; is it an iceway?"))?.to_owned())
}
