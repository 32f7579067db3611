//! Public addresses: what is configured, what the interfaces have, and what the world sees.

use std::net::{IpAddr, SocketAddr};

use futures_util::future::join_all;

use super::{
    finding::{Check, Finding},
    greet, link,
    target::{Target, Use, Way, resolve, split_port},
    tls::{Authorities, Observed},
};
use crate::{
    api::ice_servers::remoteness,
    config::{Config, External},
    turn::Transport,
};

const STUN_PORT: u16 = 3478;

/// Everything about the addresses of this machine.
pub(super) async fn check(
    config: &Config,
    interfaces: &[IpAddr],
    stun: &[String],
    authorities: Option<&Authorities>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen = Vec::new();
    for answer in join_all(stun.iter().map(|server| ask(server, authorities))).await {
        match answer {
            Ok(found) => seen.extend(found),
            Err(finding) => findings.push(finding),
        }
    }
    let locals = locals(config, interfaces);
    findings.extend(compare(config, &locals, &seen, interfaces));
    findings.extend(ipv6(&locals, interfaces));
    findings.extend(hosts(config, &locals, &seen).await);
    findings
}

/// The addresses that relay sockets are bound to, loopback only if there is no other.
fn locals(config: &Config, interfaces: &[IpAddr]) -> Vec<IpAddr> {
    let listening = config.listen.udp.iter().chain(&config.listen.tcp).chain(&config.listen.tls);
    let listening: Vec<IpAddr> = listening
        .flat_map(|address| match address.ip() {
            any if any.is_unspecified() => {
                interfaces.iter().filter(|ip| ip.is_ipv4() == any.is_ipv4()).copied().collect()
            }
            ip => vec![ip],
        })
        .collect();
    let wanted = if config.relay.addresses.is_empty() { &listening } else { &config.relay.addresses };
    let mut locals: Vec<IpAddr> = Vec::new();
    for ip in wanted {
        let is_link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        if !is_link_local && !locals.contains(ip) {
            locals.push(*ip);
        }
    }
    let others: Vec<IpAddr> = locals.iter().copied().filter(|ip| !ip.is_loopback()).collect();
    if others.is_empty() { locals } else { others }
}

async fn ask(server: &str, authorities: Option<&Authorities>) -> Result<Vec<IpAddr>, Finding> {
    let check = Check::Public;
    let place = server.strip_prefix("stun:").unwrap_or(server);
    let asked = || check.skipped(format!("the STUN server {place} does not answer"));
    let authorities = authorities.ok_or_else(asked)?;
    let (host, port) = split_port(place, STUN_PORT)
        .ok_or_else(|| check.skipped(format!("--stun {server} is no host:port")))?;
    let addresses =
        resolve(&host, port).await.map_err(|why| check.skipped(format!("--stun {place}: {why}")))?;
    let seen = join_all(addresses.iter().map(|address| see(*address, authorities))).await;
    let seen: Vec<IpAddr> = seen.into_iter().flatten().collect();
    if seen.is_empty() { Err(asked()) } else { Ok(seen) }
}

async fn see(server: SocketAddr, authorities: &Authorities) -> Option<IpAddr> {
    let mut target = Target::of(Transport::Udp, server);
    target.r#use = Use::Stun;
    let way = Way { target, address: server };
    let link = link::connect(&way, &Observed::new(authorities.clone())).await.ok()?;
    let mapped = greet::bind(&link).await.ok()?.mapped?;
    Some(mapped.ip().to_canonical())
}

/// What clients are told of a local address.
fn told(config: &Config, local: IpAddr) -> IpAddr {
    let external = &config.relay.external;
    let pair = |it: &&External| it.private == Some(local);
    let family = |it: &&External| it.private.is_none() && it.public.is_ipv4() == local.is_ipv4();
    external.iter().find(pair).or_else(|| external.iter().find(family)).map_or(local, |it| it.public)
}

fn compare(config: &Config, locals: &[IpAddr], seen: &[IpAddr], interfaces: &[IpAddr]) -> Vec<Finding> {
    let check = Check::Public;
    let mut findings = Vec::new();
    for is_ipv4 in [true, false] {
        let family = if is_ipv4 { "IPv4" } else { "IPv6" };
        let Some(local) = best(locals, is_ipv4) else { continue };
        let told = told(config, local);
        let seen = seen.iter().copied().find(|seen| seen.is_ipv4() == is_ipv4);
        let mend = |public: IpAddr| format!("set relay.external = [\"{public}\"]");
        let finding = match seen {
            Some(seen) if seen == told => {
                check.ok(format!("clients are told {told}, as a STUN server outside sees it"))
            }
            // A machine with several addresses may talk to the world from another one.
            Some(seen) if told != local && interfaces.contains(&seen) => {
                check.ok(format!("clients are told {told}"))
            }
            Some(seen) if told == local && interfaces.contains(&seen) => {
                check.ok(format!("{local} is told as it is"))
            }
            Some(seen) if told == local => check
                .failure(format!("a NAT makes {} of {local}, and clients are told {local}", seen))
                .mend(mend(seen)),
            Some(seen) => check
                .failure(format!("clients are told {told}, and a STUN server outside sees {}", seen))
                .mend(mend(seen)),
            None => match remoteness(told) {
                0 => check.ok(format!("clients are told {told}; --stun HOST proves it")),
                3 => check
                    .hint(format!("only {told}: for this machine alone"))
                    .mend("listen on an address that clients reach"),
                _ => check
                    .warning(format!("clients are told {told}, a private address"))
                    .mend("behind a NAT set relay.external to the public address; --stun HOST finds it"),
            },
        };
        findings.push(finding.of(family));
    }
    findings
}

fn best(locals: &[IpAddr], is_ipv4: bool) -> Option<IpAddr> {
    locals.iter().copied().filter(|ip| ip.is_ipv4() == is_ipv4).min_by_key(|ip| remoteness(*ip))
}

fn ipv6(locals: &[IpAddr], interfaces: &[IpAddr]) -> Option<Finding> {
    let global = |list: &[IpAddr]| list.iter().copied().find(|ip| ip.is_ipv6() && remoteness(*ip) == 0);
    match (global(interfaces), global(locals)) {
        (Some(has), None) => {
            let fact = format!("this machine has {has}, and clients are not offered it");
            Some(Check::Ipv6.warning(fact).mend("add [::]:3478 to listen.udp and listen.tcp"))
        }
        (None, _) if best(interfaces, true).is_some_and(|ip| remoteness(ip) == 0) => Some(
            Check::Ipv6
                .hint("this machine has no public IPv6 address; networks with IPv6 alone reach it by NAT64"),
        ),
        (Some(has), Some(_)) => Some(Check::Ipv6.ok(format!("clients are offered {has}"))),
        (None, _) => None,
    }
}

/// The names that clients are handed lead here, or to what clients are told.
async fn hosts(config: &Config, locals: &[IpAddr], seen: &[IpAddr]) -> Vec<Finding> {
    let uris = config.node.uris.iter().filter_map(|uri| Target::parse(&uri.0).ok()).map(|target| target.host);
    let mut names: Vec<String> =
        uris.chain(config.node.host.clone()).filter(|host| host.parse::<IpAddr>().is_err()).collect();
    names.sort();
    names.dedup();
    let own: Vec<IpAddr> = locals
        .iter()
        .flat_map(|local| [*local, told(config, *local)])
        .chain(config.relay.external.iter().map(|it| it.public))
        .chain(seen.iter().copied())
        .collect();
    join_all(names.iter().map(|name| host(name, &own))).await
}

async fn host(name: &str, own: &[IpAddr]) -> Finding {
    let found = match resolve(name, STUN_PORT).await {
        Ok(found) => found,
        Err(why) => {
            return Check::Host
                .failure(why)
                .of(name)
                .mend("add an A (and AAAA) record, or correct node.host");
        }
    };
    let ips: Vec<String> = found.iter().map(|address| address.ip().to_string()).collect();
    let shown = ips.join(", ");
    if found.iter().all(|address| own.contains(&address.ip())) {
        return Check::Host.ok(format!("leads here: {shown}")).of(name);
    }
    Check::Host
        .warning(format!("leads to {shown}, which is not this machine as far as it knows"))
        .of(name)
        .mend("correct the DNS; behind a load balancer or NAT name the address in relay.external")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Level;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn levels(external: &[&str], locals: &[&str], seen: &[&str]) -> Vec<Level> {
        let mut config = Config::default();
        config.relay.external =
            external.iter().map(|public| External { public: ip(public), private: None }).collect();
        let locals: Vec<IpAddr> = locals.iter().map(|it| ip(it)).collect();
        let seen: Vec<IpAddr> = seen.iter().map(|it| ip(it)).collect();
        compare(&config, &locals, &seen, &locals).into_iter().map(|it| it.level).collect()
    }

    #[test]
    fn the_address_outside_is_compared_with_what_clients_are_told() {
        let nat = ["203.0.113.5"];
        assert_eq!(levels(&["203.0.113.5"], &["10.0.0.5"], &nat), [Level::Ok]);
        assert_eq!(levels(&["203.0.113.9"], &["10.0.0.5"], &nat), [Level::Failure]);
        assert_eq!(levels(&[], &["10.0.0.5"], &nat), [Level::Failure]);
        assert_eq!(levels(&[], &["198.51.100.7"], &["198.51.100.7"]), [Level::Ok]);
    }

    #[test]
    fn without_a_stun_server_a_private_address_is_suspect() {
        assert_eq!(levels(&[], &["10.0.0.5"], &[]), [Level::Warning]);
        assert_eq!(levels(&["203.0.113.5"], &["10.0.0.5"], &[]), [Level::Ok]);
        assert_eq!(levels(&[], &["127.0.0.1", "::1"], &[]), [Level::Hint, Level::Hint]);
        assert_eq!(levels(&[], &["203.0.113.7", "2001:db8:1::1"], &[]), [Level::Ok, Level::Ok]);
    }

    #[test]
    fn ipv6_that_is_there_is_offered() {
        let (v4, v6) = (ip("203.0.113.7"), ip("2001:db8:1::1"));
        let level = |locals: &[IpAddr], interfaces: &[IpAddr]| ipv6(locals, interfaces).map(|it| it.level);
        assert_eq!(level(&[v4], &[v4, v6]), Some(Level::Warning));
        assert_eq!(level(&[v4, v6], &[v4, v6]), Some(Level::Ok));
        assert_eq!(level(&[v4], &[v4, ip("fe80::1")]), Some(Level::Hint));
        assert_eq!(level(&[ip("127.0.0.1")], &[ip("127.0.0.1")]), None);
    }
}
