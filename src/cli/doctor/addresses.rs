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
    config::Config,
    runtime::{AddressOrigin, Finder, Found, Mapping, NotFound},
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
    let found = find(config, interfaces, &mut findings).await;
    findings.extend(compare(&found, &locals, &seen, interfaces));
    findings.extend(ipv6(&locals, interfaces));
    findings.extend(hosts(config, &found, &locals, &seen).await);
    findings
}

/// What a server would tell clients: what is written down, and what is found now.
async fn find(config: &Config, interfaces: &[IpAddr], findings: &mut Vec<Finding>) -> Found {
    let Some(mut finder) = Finder::new(&config.relay, &listening(config, interfaces)) else {
        return Found::configured(&config.relay);
    };
    if let Err(NotFound { why, .. }) = finder.first().await {
        let failure = Check::Public.failure(format!("relay.external gives no address: {why}"));
        let mend =
            "see that UDP goes out to the server and that the names are right, or write the address itself";
        findings.push(failure.mend(mend));
    }
    finder.found()
}

/// The addresses that relay sockets are bound to, loopback only if there is no other.
fn locals(config: &Config, interfaces: &[IpAddr]) -> Vec<IpAddr> {
    let listening = listening(config, interfaces);
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

/// The addresses that clients are listened for at.
fn listening(config: &Config, interfaces: &[IpAddr]) -> Vec<IpAddr> {
    let listening = config.listen.udp.iter().chain(&config.listen.tcp).chain(&config.listen.tls);
    listening
        .flat_map(|address| match address.ip() {
            any if any.is_unspecified() => {
                interfaces.iter().filter(|ip| ip.is_ipv4() == any.is_ipv4()).copied().collect()
            }
            ip => vec![ip],
        })
        .collect()
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

/// What clients are told of a local address, and where that is known from.
fn told(found: &Found, local: IpAddr) -> (IpAddr, AddressOrigin) {
    let known = found.mappings().iter();
    let pair = known.clone().find(|it| it.external.private == Some(local));
    let of_family = |it: &&Mapping| it.external.public.is_ipv4() == local.is_ipv4();
    let is_general = |it: &&Mapping| it.external.private.is_none() || it.from == AddressOrigin::Interface;
    let mapping = pair.or_else(|| known.clone().filter(of_family).find(is_general));
    mapping.map_or((local, AddressOrigin::Own), |mapping| (mapping.external.public, mapping.from))
}

/// The address of a family that is told, with the local one behind it: of several that are known, the most public.
fn told_best(found: &Found, locals: &[IpAddr], is_ipv4: bool) -> Option<(IpAddr, IpAddr, AddressOrigin)> {
    let of_family = locals.iter().filter(|ip| ip.is_ipv4() == is_ipv4);
    let all = of_family.map(|local| (*local, told(found, *local)));
    all.map(|(local, (told, from))| (local, told, from))
        .min_by_key(|(local, told, _)| (remoteness(*told), remoteness(*local)))
}

fn compare(found: &Found, locals: &[IpAddr], seen: &[IpAddr], interfaces: &[IpAddr]) -> Vec<Finding> {
    let check = Check::Public;
    let mut findings = Vec::new();
    for is_ipv4 in [true, false] {
        let family = if is_ipv4 { "IPv4" } else { "IPv6" };
        let Some((local, told, from)) = told_best(found, locals, is_ipv4) else { continue };
        let how = how(from);
        let seen = seen.iter().copied().find(|seen| seen.is_ipv4() == is_ipv4);
        let mend = |public: IpAddr| {
            format!("set relay.external = [\"{public}\"], or to a STUN server that tells it")
        };
        let finding = match seen {
            Some(seen) if seen == told => {
                check.ok(format!("clients are told {told}{how}, as a STUN server outside sees it"))
            }
            // A machine with several addresses may talk to the world from another one.
            Some(seen) if told != local && interfaces.contains(&seen) => {
                check.ok(format!("clients are told {told}{how}"))
            }
            Some(seen) if told == local && interfaces.contains(&seen) => {
                check.ok(format!("{local} is told as it is"))
            }
            Some(seen) if told == local => check
                .failure(format!("a NAT makes {} of {local}, and clients are told {local}", seen))
                .mend(mend(seen)),
            Some(seen) => check
                .failure(format!("clients are told {told}{how}, and a STUN server outside sees {}", seen))
                .mend(mend(seen)),
            None if from == AddressOrigin::Stun => check.ok(format!("clients are told {told}{how}")),
            None => match remoteness(told) {
                0 => check.ok(format!("clients are told {told}{how}; --stun HOST proves it")),
                3 => check
                    .hint(format!("only {told}: for this machine alone"))
                    .mend("listen on an address that clients reach"),
                _ => check
                    .warning(format!("clients are told {told}{how}, a private address"))
                    .mend("behind a NAT set relay.external to the public address; --stun HOST finds it"),
            },
        };
        findings.push(finding.of(family));
    }
    findings
}

/// Where a told address is known from.
const fn how(from: AddressOrigin) -> &'static str {
    match from {
        AddressOrigin::Own => "",
        AddressOrigin::Configured => " (written down)",
        AddressOrigin::Stun => " (found by the STUN server of relay.external)",
        AddressOrigin::Name => " (found by the host name of relay.external)",
        AddressOrigin::Interface => " (found on the interface of relay.external)",
    }
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
async fn hosts(config: &Config, found: &Found, locals: &[IpAddr], seen: &[IpAddr]) -> Vec<Finding> {
    let uris = config.node.uris.iter().filter_map(|uri| Target::parse(&uri.0).ok()).map(|target| target.host);
    let mut names: Vec<String> =
        uris.chain(config.node.host.clone()).filter(|host| host.parse::<IpAddr>().is_err()).collect();
    names.sort();
    names.dedup();
    let own: Vec<IpAddr> = locals
        .iter()
        .flat_map(|local| [*local, told(found, *local).0])
        .chain(found.external().into_iter().map(|it| it.public))
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
    use crate::{cli::doctor::finding::Level, config::External};

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn levels(external: &[&str], locals: &[&str], seen: &[&str]) -> Vec<Level> {
        let mapping = |public: &&str| Mapping {
            external: External { public: ip(public), private: None },
            from: AddressOrigin::Configured,
            is_confirmed: true,
        };
        let found: Found = external.iter().map(mapping).collect();
        let locals: Vec<IpAddr> = locals.iter().map(|it| ip(it)).collect();
        let seen: Vec<IpAddr> = seen.iter().map(|it| ip(it)).collect();
        compare(&found, &locals, &seen, &locals).into_iter().map(|it| it.level).collect()
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
