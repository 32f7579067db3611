//! Contradictions between values that are each valid.

mod access;
mod public;

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
};

use crate::credentials::{OpaqueStringError, SECRETS_MAX, prepare_opaque_string};

use super::{
    keys,
    problem::{Origin, Problem},
    read::check_readable,
    secrets::Findings,
    types::Config,
};

/// Shorter secrets can be found by trying.
const SECRET_BYTES_MIN: usize = 8;
/// 128 bits need at least as many.
const SECRET_BYTES_GOOD: usize = 16;

/// Checks everything that no single key can know.
pub(crate) fn contradictions(config: &Config, origins: &HashMap<&'static str, Origin>) -> Findings {
    let mut check = Check { config, origins, findings: Findings::default() };
    check.listeners();
    check.tls();
    check.ports();
    check.relay_addresses();
    check.external_addresses();
    check.public_sources();
    check.realm();
    check.secrets();
    check.lifetimes();
    check.traffic();
    check.node();
    check.credentials();
    check.http();
    check.jwt();
    check.log();
    check.findings
}

struct Check<'a> {
    config: &'a Config,
    origins: &'a HashMap<&'static str, Origin>,
    findings: Findings,
}

impl Check<'_> {
    fn problem(&self, path: &'static str, message: String) -> Problem {
        let value = keys::find(path).filter(|key| !key.secret).and_then(|key| key.show(self.config));
        Problem {
            key: path.to_owned(),
            value,
            origin: self.origins.get(path).cloned().unwrap_or_default(),
            message,
        }
    }

    fn error(&mut self, path: &'static str, message: impl Into<String>) {
        let problem = self.problem(path, message.into());
        self.findings.errors.push(problem);
    }

    fn warn(&mut self, path: &'static str, message: impl Into<String>) {
        let problem = self.problem(path, message.into());
        self.findings.warnings.push(problem);
    }

    /// Clients prepare what they are told (RFC 8489 §9.2): a realm that this changes would never be answered.
    fn realm(&mut self) {
        let realm = &self.config.auth.realm;
        match prepare_opaque_string(realm) {
            Ok(prepared) if prepared == *realm => {}
            Ok(_) => self.error("auth.realm", "has a space other than U+0020; write a plain one"),
            // The length has been judged already.
            Err(OpaqueStringError::Empty) => {}
            Err(error @ OpaqueStringError::Disallowed { .. }) => self.error("auth.realm", error.to_string()),
        }
    }

    fn listeners(&mut self) {
        let listen = &self.config.listen;
        if listen.udp.is_empty() && listen.tcp.is_empty() && listen.tls.is_empty() {
            self.error(
                "listen.udp",
                "nobody could connect: listen.tcp and listen.tls are empty too; name an address",
            );
        }
        for (path, addresses) in
            [("listen.udp", &listen.udp), ("listen.tcp", &listen.tcp), ("listen.tls", &listen.tls)]
        {
            for (index, address) in addresses.iter().enumerate() {
                if address.ip().is_multicast() || address.ip() == IpAddr::from([255; 4]) {
                    self.error(path, format!("{address} is not an address of one machine; name one"));
                }
                let earlier = addresses.iter().take(index);
                if let Some(other) = earlier.into_iter().find(|other| overlap(other, address)) {
                    self.error(path, format!("{address} and {other} cover one another; remove one of them"));
                }
            }
        }
        for address in &listen.tls {
            if let Some(other) = listen.tcp.iter().find(|other| overlap(other, address)) {
                self.error(
                    "listen.tls",
                    format!("{address} is taken by {other} of listen.tcp, where TLS is recognised too; remove one of them"),
                );
            }
        }
        let Some(http) = self.config.http.listen else { return };
        if let Some(other) = listen.tcp.iter().chain(&listen.tls).find(|other| overlap(other, &http)) {
            self.error("http.listen", format!("clients are listened for on {other}; choose another port"));
        }
    }

    fn tls(&mut self) {
        let tls = &self.config.tls;
        match (&tls.certificate, &tls.private_key) {
            (Some(_), None) => {
                self.error("tls.certificate", "has no private key; set tls.private_key as well")
            }
            (None, Some(_)) => {
                self.error("tls.private_key", "has no certificate; set tls.certificate as well")
            }
            (None, None) if !self.config.listen.tls.is_empty() => {
                self.error("listen.tls", "needs a certificate; set tls.certificate and tls.private_key");
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
        for (path, file) in [("tls.certificate", &tls.certificate), ("tls.private_key", &tls.private_key)] {
            if let Some(Err(error)) = file.as_deref().map(check_readable) {
                self.error(path, error.to_string());
            }
        }
    }

    fn ports(&mut self) {
        let (min, max) = (self.config.relay.port_min, self.config.relay.port_max);
        if min > max {
            self.error("relay.port_min", format!("is above relay.port_max = {max}; swap them"));
        } else if min.next_multiple_of(2) >= max {
            self.error(
                "relay.port_min",
                format!("leaves no even port with its successor up to relay.port_max = {max}, as EVEN-PORT asks for; widen the range"),
            );
        }
    }

    fn relay_addresses(&mut self) {
        let addresses = &self.config.relay.addresses;
        for (index, address) in addresses.iter().enumerate() {
            if address.is_multicast() {
                self.error(
                    "relay.addresses",
                    format!("{address} is not an address of one machine; name one"),
                );
            }
            if addresses.iter().take(index).any(|other| other == address) {
                self.error("relay.addresses", format!("{address} is named twice; remove one of them"));
            }
        }
    }

    fn secrets(&mut self) {
        let auth = &self.config.auth;
        for secret in &auth.secrets {
            let in_place = auth.secret.as_ref() == Some(&secret.bytes);
            let path = if in_place { "auth.secret" } else { "auth.secret_file" };
            let bytes = secret.bytes.expose().len();
            let advice = "use a random one, such as from `openssl rand -base64 32`";
            if bytes < SECRET_BYTES_MIN {
                self.error(
                    path,
                    format!("the secret {:?} has {bytes} bytes and is found by trying; {advice}", secret.id),
                );
            } else if bytes < SECRET_BYTES_GOOD {
                self.warn(path, format!("the secret {:?} has only {bytes} bytes; {advice}", secret.id));
            }
        }
        if auth.secrets.len() > SECRETS_MAX {
            self.error(
                "auth.secret_file",
                format!(
                    "there are {} secrets; remove retired ones down to {SECRETS_MAX}",
                    auth.secrets.len()
                ),
            );
        }
        if auth.realm.trim().is_empty() {
            self.error("auth.realm", "is empty; write a name, such as your domain");
        }
    }

    fn lifetimes(&mut self) {
        let lifetimes = &self.config.lifetimes;
        if lifetimes.allocation_default > lifetimes.allocation_max {
            self.error(
                "lifetimes.allocation_default",
                "is above lifetimes.allocation_max; lower it or raise the other",
            );
        }
    }

    fn traffic(&mut self) {
        let bandwidth = &self.config.bandwidth;
        if let (Some(one), Some(all)) = (bandwidth.per_allocation, bandwidth.total)
            && one > all
        {
            self.warn("bandwidth.per_allocation", "is above bandwidth.total, so it never takes effect");
        }
        for network in &self.config.peers.allow {
            if network.prefix_len() == 0 {
                let message = format!(
                    "{network} opens this machine and its whole network to every client; name what is needed"
                );
                self.warn("peers.allow", message);
            }
            if self.config.peers.deny.contains(network) {
                self.warn("peers.deny", format!("{network} is in peers.allow too, which wins"));
            }
        }
    }

    fn node(&mut self) {
        let node = &self.config.node;
        let of_id = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if node.id.as_ref().is_some_and(|id| !id.chars().all(of_id)) {
            self.error("node.id", "has a character other than letters, digits, '.', '_' and '-'; remove it");
        }
        if !node.region.chars().all(of_id) {
            self.error(
                "node.region",
                "has a character other than letters, digits, '.', '_' and '-'; remove it",
            );
        }
        let of_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        if node.host.as_ref().is_some_and(|host| !host.chars().all(of_host)) {
            self.error(
                "node.host",
                "is not a host name; write one such as turn.example.org, without scheme and port",
            );
        }
    }

    fn credentials(&mut self) {
        let credentials = &self.config.credentials;
        if credentials.ttl_min > credentials.ttl_max {
            self.error("credentials.ttl_min", "is above credentials.ttl_max; lower it or raise the other");
        } else if credentials.ttl_default < credentials.ttl_min
            || credentials.ttl_default > credentials.ttl_max
        {
            self.error(
                "credentials.ttl_default",
                "is not between credentials.ttl_min and credentials.ttl_max; choose one that is",
            );
        }
    }

    fn log(&mut self) {
        let Some(filter) = &self.config.log.filter else { return };
        if let Err(error) = tracing_subscriber::EnvFilter::builder().parse(filter) {
            self.error(
                "log.filter",
                format!("is not a filter: {error}; write one such as \"info,iceway::turn=debug\""),
            );
        }
    }
}

/// Whether both cannot be bound. A port of 0 is a new one each time.
fn overlap(one: &SocketAddr, other: &SocketAddr) -> bool {
    let same_family = one.is_ipv4() == other.is_ipv4();
    let same_ip = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && same_family && same_ip
}
