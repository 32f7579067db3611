//! Certificates: dates, names, chain and key.

use std::{collections::BTreeSet, net::IpAddr, path::Path};

use rustls::pki_types::{CertificateDer, UnixTime, pem::PemObject as _};

use super::{
    finding::{Check, Finding, long},
    target::Target,
    tls::{Authorities, Verdict},
};
use crate::{
    api::utc,
    cli::now_unix,
    config::{Config, read_file},
    runtime::{TlsError, alternative_names, check_certificate, validity},
};

/// Renewals that have not worked by then need a person.
const DAYS_LEFT_MIN: u64 = 14;
const DAY: u64 = 86_400;
/// A certificate may name very many hosts.
const NAMES_SHOWN_MAX: usize = 4;
/// No chain of certificates is anywhere near this large.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What a client says to the chain it was shown by a host.
pub(super) fn shown_to_clients(
    chain: &[CertificateDer<'_>],
    host: &str,
    authorities: &Authorities,
) -> Vec<Finding> {
    let hosts: Vec<&str> = if host.parse::<IpAddr>().is_ok() { Vec::new() } else { vec![host] };
    judge(chain, &hosts, authorities).into_iter().map(|finding| finding.of(host)).collect()
}

/// The certificate of a configuration, before or while a server uses it.
pub(super) fn configured(config: &Config, authorities: Option<&Authorities>) -> Vec<Finding> {
    let path = match (&config.tls.certificate, check_certificate(&config.tls)) {
        (_, Err(error)) => return vec![unusable(&error)],
        (None, Ok(_)) => return Vec::new(),
        (Some(path), Ok(_)) => path,
    };
    let mut findings = vec![Check::CertificateKey.ok("the private key belongs to it")];
    let Some(chain) = read(path) else { return findings };
    let Some(authorities) = authorities else {
        findings.push(Check::CertificateChain.skipped("no certificate authorities are known here"));
        return findings;
    };
    let hosts = handed_out(config);
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    findings.extend(judge(&chain, &hosts, authorities));
    findings
}

fn unusable(error: &TlsError) -> Finding {
    let mend = if matches!(error, TlsError::Mismatch { .. }) {
        "give the key that the certificate was made for, or have a new one made"
    } else {
        "correct tls.certificate and tls.private_key; running servers go on with what they read before"
    };
    Check::CertificateKey.failure(error.to_string()).mend(mend)
}

fn read(path: &Path) -> Option<Vec<CertificateDer<'static>>> {
    let pem = read_file(path, FILE_BYTES_MAX).ok()?;
    CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>().ok()
}

/// The hosts of `turns:` URIs that clients are handed; nobody's certificate names an address.
fn handed_out(config: &Config) -> BTreeSet<String> {
    let uris = config.node.uris.iter().filter_map(|uri| Target::parse(&uri.0).ok());
    let secure =
        uris.filter(|target| target.transport == crate::turn::Transport::Tls).map(|target| target.host);
    let host = config.node.host.clone().filter(|_| config.node.uris.is_empty());
    secure.chain(host).filter(|host| host.parse::<IpAddr>().is_err()).collect()
}

/// Each fault under its own name, and no fault twice: an expired certificate may have a perfect chain.
fn judge(chain: &[CertificateDer<'_>], hosts: &[&str], authorities: &Authorities) -> Vec<Finding> {
    let Some(leaf) = chain.first() else {
        return vec![Check::CertificateChain.failure("there is no certificate")];
    };
    let mut findings = Vec::new();
    let now = now_unix();
    // What is wrong with the chain shows at a moment when the certificate is valid.
    let mut moment = now;
    if let Some(valid) = validity(leaf) {
        findings.push(dates(valid.not_before, valid.not_after, now));
        moment = now.clamp(
            valid.not_before.saturating_add(1),
            valid.not_after.saturating_sub(1).max(valid.not_before + 1),
        );
    }
    let names = alternative_names(leaf);
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(moment));
    let any = names.iter().find_map(|name| name.strip_prefix("dns:").or_else(|| name.strip_prefix("ip:")));
    let any = any.map(|name| name.replacen('*', "any", 1));
    findings
        .push(chain_of(&authorities.judge(chain, any.as_deref().unwrap_or("localhost"), time), chain.len()));
    for host in hosts {
        findings.push(if names_host(&names, host) {
            Check::CertificateNames.ok(format!("it names {host}"))
        } else {
            Check::CertificateNames
                .failure(format!("it does not name {host}; it names {}", shown_names(&names)))
                .mend(format!("have one made for {host}, or hand out a name it has (node.host, node.uris)"))
        });
    }
    findings
}

fn dates(not_before: u64, not_after: u64, now: u64) -> Finding {
    let check = Check::CertificateDates;
    if not_after < now {
        return check
            .failure(format!("it expired {} ago, on {}", long(now - not_after), utc::utc(not_after)))
            .mend("renew it; a running server takes the new file by itself");
    }
    if not_before > now {
        return check
            .failure(format!("it is not valid before {}", utc::utc(not_before)))
            .mend("is the clock of this machine right?");
    }
    let left = not_after - now;
    if left < DAYS_LEFT_MIN * DAY {
        return check
            .warning(format!("it expires in {}, on {}", long(left), utc::utc(not_after)))
            .mend("renew it, and find out why that was not done by itself");
    }
    check.ok(format!("valid for another {}", long(left)))
}

fn chain_of(verdict: &Verdict, length: usize) -> Finding {
    let check = Check::CertificateChain;
    match verdict {
        // Dates and names have lines of their own.
        Verdict::Good | Verdict::Name => check.ok(format!("an authority that is known here vouches for it ({length} in the chain)")),
        Verdict::Expired => check.failure("a certificate of its chain has expired").mend("renew the chain, not only the first"),
        Verdict::NotYetValid => check.failure("a certificate of its chain is not valid yet").mend("renew the chain"),
        Verdict::Issuer if length == 1 => check
            .warning("no authority that is known here made it, and no chain is sent along")
            .mend("put the issuer's certificates behind it (fullchain.pem); for an authority of your own give --ca-file, or the server SSL_CERT_FILE"),
        Verdict::Issuer => check
            .warning("no authority that is known here vouches for its chain")
            .mend("browsers refuse it unless they know the authority; for one of your own give --ca-file, or the server SSL_CERT_FILE"),
        Verdict::Other(text) => check.failure(text.clone()).mend("have a new one made"),
    }
}

fn names_host(names: &[Box<str>], host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let host = host.trim_end_matches('.');
    names.iter().any(|name| match name.strip_prefix("dns:") {
        Some(name) => match name.strip_prefix("*.") {
            Some(domain) => {
                host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == domain)
            }
            None => name == host,
        },
        None => name.strip_prefix("ip:") == Some(host),
    })
}

fn shown_names(names: &[Box<str>]) -> String {
    let plain: Vec<&str> = names
        .iter()
        .filter_map(|name| name.split_once(':'))
        .map(|(_, name)| name)
        .take(NAMES_SHOWN_MAX)
        .collect();
    if plain.is_empty() { "nothing".to_owned() } else { plain.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Level;

    fn names(list: &[&str]) -> Vec<Box<str>> {
        list.iter().map(|name| (*name).into()).collect()
    }

    #[test]
    fn a_wildcard_stands_for_one_label() {
        let names = names(&["dns:*.example.org", "dns:example.net", "ip:192.0.2.1"]);
        assert!(names_host(&names, "turn.example.org") && names_host(&names, "Example.NET."));
        assert!(names_host(&names, "192.0.2.1"));
        for other in ["a.b.example.org", "example.org", ".example.org", "192.0.2.2", "turn.example.net"] {
            assert!(!names_host(&names, other), "{other}");
        }
    }

    #[test]
    fn dates_are_judged_two_weeks_ahead() {
        let now = 1_800_000_000;
        let levels =
            [now - 1, now + 1, now + 13 * DAY, now + 15 * DAY].map(|end| dates(now - 100, end, now).level);
        assert_eq!(levels, [Level::Failure, Level::Warning, Level::Warning, Level::Ok]);
        assert_eq!(dates(now + 5, now + 100 * DAY, now).level, Level::Failure);
    }
}
