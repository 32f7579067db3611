//! Every way to the relay, tried as a client would.

use std::{net::SocketAddr, time::Duration};

use futures_util::future::join_all;
use tokio::net::UdpSocket;

use super::{
    certificate,
    finding::{Check, Finding, shown},
    greet::{self, Greeting, Silence, Welcome},
    link::{self, LinkError},
    relay::{Allocation, Credential, Refusal, Traffic},
    target::{Target, Use, Way},
    tls::{Authorities, Observed},
};
use crate::{api::ice_servers::remoteness, turn::Transport};

/// What is lost of a call on this machine or a good network: nothing. Above this, people hear it.
const LOSS_PERCENT_MAX: u16 = 4;

/// What clients bring.
pub(super) struct Client {
    pub(super) credentials: Option<[Credential; 2]>,
    pub(super) authorities: Option<Authorities>,
    /// Whether this is the machine of the server: what is not reached is not the fault of a firewall outside.
    pub(super) is_inside: bool,
}

/// Tries every address of every target.
pub(super) async fn reach(targets: &[Target], client: &Client) -> Vec<Finding> {
    let each = targets.iter().map(|target| async move {
        match target.ways().await {
            Ok(ways) => join_all(ways.iter().map(|way| try_way(way, client))).await.concat(),
            Err(finding) => vec![finding],
        }
    });
    join_all(each).await.concat()
}

async fn try_way(way: &Way, client: &Client) -> Vec<Finding> {
    let check = way.target.check();
    let Some(observed) = client.authorities.clone().map(Observed::new) else {
        return vec![check.skipped("no certificate authorities are known here").of(way.shown())];
    };
    let mut findings = Vec::new();
    match way.target.r#use {
        Use::Stun => findings.push(stun(way, &observed).await),
        Use::Turn => Attempt { way, client, observed: &observed }.run(&mut findings).await,
    }
    if let Some(chain) = observed.chain() {
        findings.extend(certificate::shown_to_clients(&chain, &way.target.host, observed.authorities()));
    }
    for finding in &mut findings {
        if finding.check == check {
            finding.subject = way.shown();
        }
    }
    findings
}

async fn stun(way: &Way, observed: &Observed) -> Finding {
    let link = match link::connect(way, observed).await {
        Ok(link) => link,
        Err(error) => return unreached(Check::Stun, &error, way, false),
    };
    match greet::bind(&link).await {
        Ok(Greeting { mapped: Some(mapped), took, .. }) => {
            Check::Stun.ok(format!("answers in {}, sees us as {}", shown(took), mapped.ip()))
        }
        Ok(_) => Check::Stun.failure("answers without XOR-MAPPED-ADDRESS").mend("is it a STUN server?"),
        Err(silence) => unanswered(Check::Stun, &silence, way, false),
    }
}

/// One address of one TURN URI.
struct Attempt<'a> {
    way: &'a Way,
    client: &'a Client,
    observed: &'a Observed,
}

impl Attempt<'_> {
    async fn run(&self, findings: &mut Vec<Finding>) {
        let check = self.way.target.check();
        let inside = self.client.is_inside;
        let link = match link::connect(self.way, self.observed).await {
            Ok(link) => link,
            Err(error) => return findings.push(unreached(check, &error, self.way, inside)),
        };
        let greeting = match greet::bind(&link).await {
            Ok(greeting) => greeting,
            Err(silence) => return findings.push(unanswered(check, &silence, self.way, inside)),
        };
        match greet::knock(&link).await {
            Ok(Welcome::Challenge(_)) => {}
            Ok(Welcome::Open) => {
                let open = check.failure("relays for everybody, without a credential");
                return findings.push(open.mend("ask for credentials: an open relay is abused within hours"));
            }
            Ok(Welcome::Refused(code, reason)) => return findings.push(refused(check, code, &reason)),
            Err(silence) => return findings.push(unanswered(check, &silence, self.way, inside)),
        }
        let Some([first, second]) = &self.client.credentials else {
            let fact =
                format!("answers in {} and asks for a credential; not tried further", shown(greeting.took));
            return findings.push(check.skipped(fact));
        };
        drop(link);
        self.relay(greeting, [first, second], findings).await;
    }

    async fn relay(&self, greeting: Greeting, credentials: [&Credential; 2], findings: &mut Vec<Finding>) {
        let check = self.way.target.check();
        let started = tokio::time::Instant::now();
        let first = match self.allocate(credentials[0]).await {
            Ok(allocation) => allocation,
            Err(finding) => return findings.push(finding),
        };
        let took = started.elapsed();
        // Where one user may have one allocation only, it talks to itself.
        let second = self.allocate(credentials[1]).await.ok();
        let other = second.as_ref().unwrap_or(&first);
        let admitted = match first.admit(other.address).await {
            Ok(()) => other.admit(first.address).await,
            refused => refused,
        };
        findings.push(match admitted {
            Ok(()) => self.judge(first.exchange(other).await, took),
            Err(refusal) => check
                .failure(format!(
                    "allocates, but does not relay to {}: {}",
                    other.address.ip(),
                    words(&refusal)
                ))
                .mend("a relayed address must be a legal peer: see peers.deny, and relay.external"),
        });
        findings.extend(self.relayed(first.address));
        if !self.client.is_inside && self.way.target.transport == Transport::Udp {
            findings.extend(self.peer(&first, greeting).await);
        }
        first.end().await;
        if let Some(second) = second {
            second.end().await;
        }
    }

    async fn allocate(&self, credential: &Credential) -> Result<Allocation, Finding> {
        let check = self.way.target.check();
        let link = link::connect(self.way, self.observed).await;
        let link = link.map_err(|error| unreached(check, &error, self.way, self.client.is_inside))?;
        let made = Allocation::make(link, self.way.address, credential).await;
        made.map_err(|refusal| match refusal {
            Refusal::Code(code) => refused(check, code, ""),
            Refusal::Silent => check
                .failure("answers, but not to a request with a credential")
                .mend("larger packets get lost: look at the path MTU and at firewalls that read STUN"),
            Refusal::Other(text) => check.failure(format!("the client of the turn crate says: {text}")),
        })
    }

    fn judge(&self, traffic: Traffic, allocated: Duration) -> Finding {
        let check = self.way.target.check();
        let Traffic { sent, returned, median } = traffic;
        let lost = sent - returned;
        if returned == 0 {
            return check
                .failure(format!("allocates in {}, but none of {sent} packets comes back", shown(allocated)))
                .mend("let UDP through between the relay ports (relay.port_min to relay.port_max) of the server itself");
        }
        let time = shown(median.unwrap_or_default());
        let fact =
            format!("allocated in {}, {returned} of {sent} packets came back, {time}", shown(allocated));
        if lost * 100 > sent * LOSS_PERCENT_MAX {
            let percent = lost * 100 / sent;
            return check
                .warning(format!("{fact}: {percent} % lost"))
                .mend("look for a full link, a busy processor, or small socket buffers (runtime.socket_buffer_bytes)");
        }
        check.ok(fact)
    }

    /// Whether peers that reach the server could reach its relayed addresses.
    fn relayed(&self, relayed: SocketAddr) -> Option<Finding> {
        let (server, ip) = (self.way.address.ip(), relayed.ip());
        if remoteness(ip) <= remoteness(server) || server.is_ipv4() != ip.is_ipv4() {
            return Some(Check::Relayed.ok(format!("clients are relayed from {ip}")));
        }
        let fact = format!("{server} relays from {ip}, which peers outside cannot reach");
        Some(
            Check::Relayed
                .failure(fact)
                .mend(format!("set relay.external = [\"{server}\"], what the NAT in front maps to {ip}")),
        )
    }

    /// Whether a peer outside reaches the ports of relayed addresses: this machine is one.
    async fn peer(&self, allocation: &Allocation, greeting: Greeting) -> Option<Finding> {
        let seen = greeting.mapped.filter(|seen| seen.is_ipv4() == allocation.address.is_ipv4())?;
        // On the machine of the server, or behind its NAT, we are no peer: its own addresses are none.
        if seen.ip() == allocation.address.ip() || seen.ip() == self.way.address.ip() {
            return None;
        }
        let socket = UdpSocket::bind(("0.0.0.0", 0)).await.ok()?;
        let port = allocation.address.port();
        let finding = match allocation.hears(&socket, seen).await {
            Ok(true) => Check::Peer.ok(format!("packets from {} arrive at relay port {port}", seen.ip())),
            Ok(false) => Check::Peer
                .failure(format!("packets from {} do not arrive at {}", seen.ip(), allocation.address))
                .mend("open UDP ports relay.port_min to relay.port_max in the firewall; if they are, correct relay.external"),
            // Private addresses are denied, as they should be.
            Err(Refusal::Code(403)) => return None,
            Err(refusal) => Check::Peer.skipped(format!("not tried: {}", words(&refusal))),
        };
        Some(finding)
    }
}

fn words(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Code(code) => format!("error {code}"),
        Refusal::Silent => "no answer".to_owned(),
        Refusal::Other(text) => text.clone(),
    }
}

fn transport_port(way: &Way) -> String {
    let kind = if way.target.transport == Transport::Udp { "UDP" } else { "TCP" };
    format!("{kind} port {}", way.address.port())
}

fn unreached(check: Check, error: &LinkError, way: &Way, is_inside: bool) -> Finding {
    let port = transport_port(way);
    match error {
        LinkError::Refused => check.failure(error.to_string()).mend(not_listening(way, is_inside)),
        LinkError::Silent => check.failure(error.to_string()).mend(format!("open {port} in the firewall")),
        LinkError::Unreachable(_) => check.skipped(if way.address.is_ipv6() {
            "this machine has no IPv6".to_owned()
        } else {
            error.to_string()
        }),
        LinkError::Tls(_) => check
            .failure(error.to_string())
            .mend("does the server speak TLS there? Its log says why a handshake fails"),
        LinkError::Other(_) => check.failure(error.to_string()),
    }
}

fn unanswered(check: Check, silence: &Silence, way: &Way, is_inside: bool) -> Finding {
    let port = transport_port(way);
    let mend = match silence {
        Silence::Refused => not_listening(way, is_inside),
        Silence::Silent if way.target.transport == Transport::Udp => {
            format!("open {port} in the firewall, both ways; is the server up?")
        }
        Silence::Silent | Silence::Closed => {
            "the server's log and metrics say why; is it overloaded?".to_owned()
        }
        Silence::Foreign => format!("another program has {port}; correct the URI, or end it"),
    };
    check.failure(silence.to_string()).mend(mend)
}

fn not_listening(way: &Way, is_inside: bool) -> String {
    let key = way.target.transport.as_str();
    if is_inside {
        return format!("start the server, or restart it if listen.{key} was changed");
    }
    format!("is the server up, and is {} among its listen.{key}?", way.address.port())
}

fn refused(check: Check, code: u16, reason: &str) -> Finding {
    let (fact, mend) = match code {
        300 => ("sends clients to another server (300)", "it drains; nothing to do once it has restarted"),
        401 => {
            // Told once, not for each way.
            return Check::Credential.failure("the server does not take it (401)").mend(
                "it was made with another secret, or has expired: `iceway credentials verify` says why; a changed secret \
                 is taken on reload (SIGHUP)",
            );
        }
        403 => ("forbids it (403)", "see peers.deny"),
        437 => ("mixes us up with another client (437)", "try again"),
        438 => (
            "takes the nonce for old (438)",
            "do all nodes behind this address share a cluster key and clock?",
        ),
        440 => ("relays no IPv4 (440)", "name an IPv4 address in relay.addresses"),
        441 => ("says that the allocation is another's (441)", "try again"),
        442 => ("relays no UDP (442)", "use a server that does"),
        486 => (
            "has given this user all it may have (486)",
            "raise limits.allocations_per_user or limits.allocations_per_address",
        ),
        508 => (
            "has no relay port left, or drains (508)",
            "widen relay.port_min to relay.port_max, raise the descriptor limit or limits.allocations_total, or add a node",
        ),
        _ => {
            let text = if reason.is_empty() {
                format!("answers error {code}")
            } else {
                format!("answers {code} {reason}")
            };
            return check.failure(text).mend("the server's log says why");
        }
    };
    check.failure(fact).mend(mend)
}
