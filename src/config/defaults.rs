//! The values of everything that is not configured.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use super::types::{Auth, Credentials, Listen, Log, LogFormat, LogLevel, Relay, Runtime, Streams};
use crate::turn;

impl Default for Listen {
    fn default() -> Self {
        Self { udp: everywhere(3478), tcp: everywhere(3478), tls: Vec::new() }
    }
}

/// `port` on every IPv4 and IPv6 address.
pub(crate) fn everywhere(port: u16) -> Vec<SocketAddr> {
    vec![
        SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port),
        SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port),
    ]
}

impl Default for Relay {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            external: Vec::new(),
            external_refresh: Duration::from_secs(60),
            port_min: 49152,
            port_max: 65535,
        }
    }
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            realm: "iceway".to_owned(),
            secret: None,
            secret_file: None,
            users_file: None,
            secrets: Vec::new(),
            users: Vec::new(),
            username_separator: ':',
            expiry: turn::Expiry::Allocate,
        }
    }
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            connections_total: 65_536,
            connections_per_address: 1024,
            handshake_timeout: Duration::from_secs(10),
            unauthenticated_timeout: Duration::from_secs(60),
            frame_timeout: Duration::from_secs(10),
            buffer_bytes: 256 << 10,
        }
    }
}

impl Default for Runtime {
    fn default() -> Self {
        Self {
            shards: 0,
            socket_buffer_bytes: 4 << 20,
            relay_socket_buffer_bytes: 1 << 20,
            drain_timeout: Duration::from_secs(30),
            drain_redirect: true,
        }
    }
}

impl Default for Credentials {
    fn default() -> Self {
        Self {
            ttl_default: Duration::from_secs(3600),
            ttl_min: Duration::from_secs(60),
            ttl_max: Duration::from_secs(86_400),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: LogLevel::Info, filter: None, format: LogFormat::Auto, redact: false }
    }
}
