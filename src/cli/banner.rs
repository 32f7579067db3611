//! What is said to somebody who starts the server with nothing configured.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::Context as _;

use super::{now_unix, trial::Trial};
use crate::{
    api::{
        HttpServer,
        ice_servers::{self, IceServer, Reached, remoteness},
    },
    config::{Loaded, PageEnabled},
    credentials::Credential,
    runtime::{AddressOrigin, Node, PublicStatus},
    turn::Transport,
};

/// Long enough to try it for a day.
const CREDENTIAL_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// The whole text.
pub(super) fn text(
    loaded: &Loaded,
    node: &Node,
    http: Option<&HttpServer>,
    given: &Trial,
) -> anyhow::Result<String> {
    let config = &loaded.config;
    let credential = config
        .directory()
        .context("the generated secret cannot be used")?
        .mint("trial", CREDENTIAL_LIFETIME, now_unix())
        .context("there is no secret to mint with")?;
    let reached = ice_servers::listened_on(node.listening());
    let public = node.handle().public();
    let uris = ice_servers::node_uris(config, &public.external, &reached);
    let mut text = format!("iceway {} is running. ", env!("CARGO_PKG_VERSION"));
    text.push_str(match &loaded.file {
        None => "Nothing is configured, which is safe to expose and good for trying it.\n",
        Some(_) => "No secret and no users are configured, which is good for trying it.\n",
    });
    listening(&mut text, &reached);
    relaying(&mut text, loaded, &public);
    if let Some(http) = http {
        page(&mut text, loaded, http);
        section(&mut text, "Metrics and health");
        line(&mut text, &format!("http://{0}/metrics  http://{0}/readyz", http.address()));
    }
    trial(&mut text, &credential, &uris, &reached, &public);
    if let Some(http) = http {
        api(&mut text, http, given);
    }
    production(&mut text);
    Ok(text)
}

fn section(text: &mut String, title: &str) {
    text.push_str(&format!("\n{title}\n"));
}

fn line(text: &mut String, words: &str) {
    text.push_str(&format!("  {words}\n"));
}

/// Where a browser sees in a minute that all of it works.
fn page(text: &mut String, loaded: &Loaded, http: &HttpServer) {
    if loaded.config.page.enabled == PageEnabled::Off {
        return;
    }
    let address = http.address();
    let ip = if address.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { address.ip() };
    section(text, "Open this page: it checks each way to the relay and has a room for a first call");
    line(text, &format!("http://{}/", SocketAddr::new(ip, address.port())));
}

fn listening(text: &mut String, reached: &Reached) {
    section(text, "Listening for clients on");
    for transport in Transport::ALL {
        let addresses: Vec<String> = reached
            .iter()
            .filter(|(known, _)| *known == transport)
            .map(|(_, address)| address.to_string())
            .collect();
        if !addresses.is_empty() {
            line(text, &format!("{}  {}", transport.as_str(), addresses.join("  ")));
        }
    }
}

fn relaying(text: &mut String, loaded: &Loaded, public: &PublicStatus) {
    let relay = &loaded.config.relay;
    section(text, &format!("Relaying from UDP ports {} to {} of", relay.port_min, relay.port_max));
    for address in &public.addresses {
        let how = match address.from {
            AddressOrigin::Own | AddressOrigin::Configured => "",
            AddressOrigin::Stun => ", as a STUN server sees it",
            AddressOrigin::Name => ", which the host name leads to",
            AddressOrigin::Interface => ", which the interface has",
        };
        let told = if address.local == address.told && how.is_empty() {
            String::new()
        } else {
            format!("  (clients are told {}{how})", address.told)
        };
        line(text, &format!("{}{told}", address.local));
    }
    if public.addresses.iter().all(|address| remoteness(address.told) > 0) {
        line(text, "None of these is a public address: clients on the internet cannot be relayed to.");
        line(text, "Behind a NAT, set relay.external to the public address: --relay-external PUBLIC-IP,");
        line(text, "or to a STUN server that tells it: --relay-external stun:HOST");
    }
}

fn trial(
    text: &mut String,
    credential: &Credential,
    uris: &[String],
    reached: &Reached,
    public: &PublicStatus,
) {
    section(text, "A credential to try it, valid for 24 hours and until this process ends: iceServers =");
    for row in IceServer::new(uris, credential).pretty().lines() {
        line(text, row);
    }
    let best = ice_servers::best_addresses(reached, &public.external);
    let Some((local, _)) = best.into_iter().next() else { return };
    let port = reached
        .iter()
        .find(|(transport, address)| *transport == Transport::Udp && address.ip() == local)
        .map_or(3478, |(_, address)| address.port());
    section(text, "Try it from this machine (coturn's tools: apt install coturn)");
    line(text, &format!("turnutils_stunclient -p {port} {local}"));
    let (username, password) = (&credential.username, credential.password.as_str());
    line(text, &format!("turnutils_uclient -y -s -p {port} -u {username} -w {password} {local}"));
}

fn api(text: &mut String, http: &HttpServer, given: &Trial) {
    section(text, "Or ask the API for one, as a backend does; the key is valid until this process ends");
    line(text, &format!("curl -s http://{}/v1/turn/credentials \\", http.address()));
    line(text, &format!("  -H 'Authorization: Bearer {}' \\", given.key_text()));
    line(text, "  -H 'Content-Type: application/json' -d '{\"user\":\"alice\",\"ttl\":3600}'");
}

fn production(text: &mut String) {
    section(text, "For production: a secret that outlives a restart, and credentials made with it");
    line(text, "openssl rand -base64 32 > iceway.secret && chmod 600 iceway.secret");
    line(text, "iceway serve --auth-secret-file iceway.secret --auth-realm example.org");
    line(text, "iceway api-keys create --name backend --scopes issue --store-path iceway.redb");
    line(text, "iceway credentials mint --user alice --ttl 12h --auth-secret-file iceway.secret");
    line(
        text,
        "Add a certificate for turns: (tls.certificate, tls.private_key), open the ports above in the firewall,",
    );
    line(text, "and see `iceway serve --help` for everything else. Ctrl-C ends.");
}
