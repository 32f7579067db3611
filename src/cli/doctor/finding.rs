//! What is checked, and what is found.

use std::time::Duration;

/// Where a line stands in the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cli) enum Section {
    Server,
    Reach,
    Addresses,
    Certificate,
    Clock,
    Redis,
    System,
    Policy,
    Signaling,
}

impl Section {
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Server => "Server",
            Self::Reach => "Ways to the relay",
            Self::Addresses => "Addresses",
            Self::Certificate => "Certificate",
            Self::Clock => "Clock",
            Self::Redis => "Redis",
            Self::System => "System",
            Self::Policy => "Policy",
            Self::Signaling => "Signaling",
        }
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cli) enum Level {
    /// As it should be.
    Ok,
    /// Could be better; nothing is wrong.
    Hint,
    /// It could not be looked at.
    Skipped,
    /// It works, and should be changed.
    Warning,
    /// It does not work, or is not safe.
    Failure,
}

impl Level {
    pub(in crate::cli) const ALL: [(Self, &'static str); 5] = [
        (Self::Ok, "As it should be."),
        (Self::Hint, "Could be better; nothing is wrong."),
        (Self::Skipped, "Not looked at; the fact says why."),
        (Self::Warning, "Works, and should be changed. Exit status 0 unless `--strict`."),
        (Self::Failure, "Does not work, or is not safe. Exit status 1."),
    ];

    pub(super) fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().map(|(level, _)| *level).find(|level| level.as_str() == name)
    }

    pub(in crate::cli) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Hint => "hint",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) check: Check,
    /// What was looked at, where there are several; may be empty.
    pub(super) subject: String,
    pub(super) level: Level,
    /// What is so.
    pub(super) fact: String,
    /// What to do.
    pub(super) mend: Option<String>,
}

impl Finding {
    /// About what there is several of.
    pub(super) fn of(mut self, subject: impl Into<String>) -> Self {
        self.subject = subject.into();
        self
    }

    pub(super) fn mend(mut self, mend: impl Into<String>) -> Self {
        self.mend = Some(mend.into());
        self
    }
}

macro_rules! checks {
    ($($name:ident $section:ident $id:literal $meaning:literal;)+) => {
        /// What is checked. The names are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(in crate::cli) enum Check { $(#[doc = $meaning] $name,)+ }

        impl Check {
            /// Every check, in the order of the report.
            pub(in crate::cli) const ALL: &'static [Self] = &[$(Self::$name,)+];

            pub(in crate::cli) const fn id(self) -> &'static str {
                match self { $(Self::$name => $id,)+ }
            }

            pub(in crate::cli) const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)+ }
            }

            pub(super) const fn section(self) -> Section {
                match self { $(Self::$name => Section::$section,)+ }
            }
        }
    };
}

checks! {
    Configuration Server "configuration" "The configuration can be used, and its own warnings.";
    Running Server "server.running" "The server answers, and takes new clients.";
    Report Server "server.report" "What the node of `--server` finds when it looks at itself (`GET /v1/doctor`).";
    Changed Server "server.changed" "The server runs with the configuration as it is written now.";
    Credential Server "server.credential" "There is a credential to try the relay with.";
    Name Reach "reach.name" "The host name of a URI is known to the DNS.";
    Stun Reach "reach.stun" "A Binding request is answered with the client's own address.";
    Udp Reach "reach.udp" "Two allocations over UDP are made and exchange packets.";
    Tcp Reach "reach.tcp" "The same over TCP.";
    Tls Reach "reach.tls" "The same over TLS.";
    Peer Reach "reach.peer" "A peer outside reaches the port of a relayed address.";
    Relayed Addresses "address.relayed" "The relayed addresses are some that peers can reach.";
    Public Addresses "address.public" "What clients are told by `relay.external` is found, and is what a STUN server outside sees, for each family.";
    Host Addresses "address.host" "`node.host` and the hosts of `node.uris` lead to this machine.";
    Ipv6 Addresses "address.ipv6" "There is IPv6, if the machine has it.";
    CertificateKey Certificate "certificate.key" "The certificate can be read and belongs to its key.";
    CertificateDates Certificate "certificate.dates" "It is valid now, and for another 14 days.";
    CertificateChain Certificate "certificate.chain" "Its chain leads to an authority that clients know (`--ca-file` adds some).";
    CertificateNames Certificate "certificate.names" "It names the hosts that clients are handed.";
    ClockPeer Clock "clock.peer" "The clock agrees with the `Date` of `--server` and each `--peer`.";
    ClockRedis Clock "clock.redis" "The clock agrees with Redis.";
    RedisReach Redis "redis.connect" "Redis can be reached, takes the password, is a master and new enough.";
    RedisLatency Redis "redis.latency" "It answers well within `redis.command_timeout`.";
    RedisAcl Redis "redis.acl" "The user may give every command that is needed.";
    RedisMemory Redis "redis.memory" "It evicts nothing, and has memory left.";
    RedisKey Redis "redis.cluster_key" "The nodes there share this cluster key.";
    RedisNodes Redis "redis.nodes" "Which nodes are there.";
    Buffers System "system.buffers" "The kernel grants the socket buffers that are configured.";
    Descriptors System "system.descriptors" "The limit of descriptors fits the relay ports.";
    Ports System "system.ports" "The system does not hand out relay ports to others.";
    Conntrack System "system.conntrack" "Connection tracking, if there is any, has room.";
    Backlog System "system.backlog" "The kernel lets enough connections wait.";
    Files System "system.files" "Files with secrets are not readable for everybody.";
    Peers Policy "policy.peers" "`peers.allow` opens no more than a network of one's own.";
    Secret Policy "policy.secret" "Secrets cannot be guessed.";
    Users Policy "policy.users" "Passwords of static users cannot be guessed.";
    Realm Policy "policy.realm" "A realm of one's own.";
    Http Policy "policy.http" "The API is not offered in clear text on a public address.";
    Query Policy "policy.query_key" "API keys stay out of queries, which proxies log.";
    Cors Policy "policy.cors" "Pages of named origins alone call the API.";
    Quota Policy "policy.quota" "One user cannot take every port.";
    Expiry Policy "policy.expiry" "What the end of a credential means for a call that is up.";
    Trial Policy "policy.trial" "No trial secret on a public address.";
    TlsListener Policy "policy.tls" "There is a way over TLS, for networks that let nothing else out.";
    Port443 Policy "policy.port_443" "TLS on port 443, which gets through most firewalls.";
    WebSocket Signaling "signal.websocket" "The WebSocket of the signaling relay opens.";
    Origins Signaling "signal.origins" "Pages that may connect are named.";
    Authorize Signaling "signal.authorize" "The backend of `signal.authorize_url` answers in time.";
    Time Server "doctor.time" "Everything was looked at within `--timeout`.";
}

impl Check {
    /// The check of that name, if this version knows it.
    pub(super) fn of_id(id: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|check| check.id() == id)
    }

    pub(super) fn found(self, level: Level, fact: impl Into<String>) -> Finding {
        Finding { check: self, subject: String::new(), level, fact: fact.into(), mend: None }
    }

    pub(super) fn ok(self, fact: impl Into<String>) -> Finding {
        self.found(Level::Ok, fact)
    }

    pub(super) fn hint(self, fact: impl Into<String>) -> Finding {
        self.found(Level::Hint, fact)
    }

    pub(super) fn skipped(self, fact: impl Into<String>) -> Finding {
        self.found(Level::Skipped, fact)
    }

    pub(super) fn warning(self, fact: impl Into<String>) -> Finding {
        self.found(Level::Warning, fact)
    }

    pub(super) fn failure(self, fact: impl Into<String>) -> Finding {
        self.found(Level::Failure, fact)
    }
}

/// A time for people: `0.4 ms`, `12 ms`, `1.5 s`.
pub(super) fn shown(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1000.0;
    match millis {
        ..10.0 => format!("{millis:.1} ms"),
        10.0..1000.0 => format!("{millis:.0} ms"),
        _ => format!("{:.1} s", millis / 1000.0),
    }
}

/// Seconds for people, in the largest unit that says enough: `45 s`, `12 min`, `3 h`, `20 days`.
pub(super) fn long(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_check_has_a_name_of_its_own() {
        let ids: HashSet<&str> = Check::ALL.iter().map(|check| check.id()).collect();
        assert_eq!(ids.len(), Check::ALL.len());
    }

    #[test]
    fn times_are_short() {
        let times = [400, 12_300, 1_500_000].map(|micros| shown(Duration::from_micros(micros)));
        assert_eq!(times, ["0.4 ms", "12 ms", "1.5 s"]);
        assert_eq!([45, 720, 7200, 1_728_000].map(long), ["45 s", "12 min", "2 h", "20 days"]);
    }
}
