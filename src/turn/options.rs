//! What the core is told at start and on reload.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use super::{QualityOptions, QuotaKind};
use crate::credentials::Expiry;

/// A source of unpredictable bytes (nonces, reservation tokens, relay ports).
pub trait Random: Send {
    /// Fills `bytes`.
    fn fill(&mut self, bytes: &mut [u8]);
}

/// One address relay sockets are bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayAddress {
    /// The address of this machine that relay sockets are bound to.
    pub local: IpAddr,
    /// The address clients are told: `local`, or what a NAT in front of this machine maps it to.
    pub advertised: IpAddr,
}

/// Durations of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Given when the client asks for none, and the least it gets (RFC 8656 §7.2). 600 s.
    pub allocation_default: Duration,
    /// The most a client gets. 3600 s.
    pub allocation_max: Duration,
    /// RFC 8656 §9: 300 s.
    pub permission: Duration,
    /// RFC 8656 §12: 600 s.
    pub channel: Duration,
    /// How long an expired channel's number and peer stay reserved for one another (RFC 8656 §12). 300 s.
    pub channel_linger: Duration,
    /// How long a port reserved by EVEN-PORT waits for its RESERVATION-TOKEN (RFC 8656 §7.2). 30 s.
    pub reservation: Duration,
    /// The age at which a nonce becomes stale. 3600 s.
    pub nonce: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            allocation_default: Duration::from_secs(600),
            allocation_max: Duration::from_secs(3600),
            permission: Duration::from_secs(300),
            channel: Duration::from_secs(600),
            channel_linger: Duration::from_secs(300),
            reservation: Duration::from_secs(30),
            nonce: Duration::from_secs(3600),
        }
    }
}

/// A rate in bytes per second for relayed payload; `None` is unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bandwidth {
    /// Per allocation and direction.
    pub per_allocation: Option<u64>,
    /// For the whole process, both directions together.
    pub total: Option<u64>,
}

/// Bounds on what clients can make grow. `None` is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Allocations of one user; more are answered 486.
    pub allocations_per_user: Option<u32>,
    /// Allocations from one client IP address; more are answered 486.
    pub allocations_per_address: Option<u32>,
    /// Allocations in all; more are answered 508.
    pub allocations_total: Option<u32>,
    /// Allocations of this and all other nodes together; more are answered 508.
    pub allocations_cluster: Option<u32>,
    /// Permissions of one allocation; more are answered 508.
    pub permissions_per_allocation: u16,
    /// Channel bindings of one allocation; more are answered 508.
    pub channels_per_allocation: u16,
    /// Answers to unauthenticated requests per second and client address (IPv6: /64).
    pub unauthenticated_answers_per_second: u32,
}

impl Limits {
    /// How many allocations a quota allows; `u32::MAX` is unlimited.
    pub(super) fn of(&self, kind: QuotaKind) -> u32 {
        let limit = match kind {
            QuotaKind::User => self.allocations_per_user,
            QuotaKind::Address => self.allocations_per_address,
            QuotaKind::Total => self.allocations_total,
            QuotaKind::Cluster => self.allocations_cluster,
        };
        limit.unwrap_or(u32::MAX)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            allocations_per_user: None,
            allocations_per_address: None,
            allocations_total: None,
            allocations_cluster: None,
            permissions_per_allocation: 256,
            channels_per_allocation: 256,
            unauthenticated_answers_per_second: 100,
        }
    }
}

/// Limits of their own for those whose username claims the class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaClass {
    /// See [`Claims::class`](crate::credentials::Claims::class).
    pub name: Box<str>,
    /// Instead of [`Limits::allocations_per_user`]. `None` is unlimited.
    pub allocations_per_user: Option<u32>,
    /// Instead of [`Bandwidth::per_allocation`]. `None` is unlimited.
    pub bandwidth_per_allocation: Option<u64>,
}

/// Everything the core needs to know. Cheap to clone; replaced as a whole on reload.
#[derive(Clone, Debug)]
pub struct Options {
    /// The listening addresses; [`ListenerId`](super::ListenerId) is an index into them.
    pub listeners: Vec<SocketAddr>,
    /// Where relay sockets are bound. Empty: every Allocate is answered 440.
    pub relay_addresses: Vec<RelayAddress>,
    /// The realm of long-term credentials. At most 127 characters.
    pub realm: String,
    /// The value of SOFTWARE; `None` (the default) sends none.
    pub software: Option<String>,
    /// See [`Lifetimes`].
    pub lifetimes: Lifetimes,
    /// See [`Limits`].
    pub limits: Limits,
    /// See [`Bandwidth`].
    pub bandwidth: Bandwidth,
    /// Limits of those who claim a class; a class that is not among these is as good as none.
    pub classes: Arc<[QuotaClass]>,
    /// For those whose username does not say otherwise. See [`Expiry`].
    pub expiry: Expiry,
    /// Ask for users that the directory does not know with [`Output::LookUp`](super::Output). Off by default:
    /// unknown users are answered 401 at once.
    pub external_users: bool,
    /// What is measured of calls that are relayed. Off by default.
    pub quality: QualityOptions,
    /// Accept channel numbers 0x5000–0x7FFF, which RFC 5766 allowed and RFC 8656 §12 does not.
    pub legacy_channel_numbers: bool,
}

impl Options {
    /// The limits of an allocation: those of its class, or the general ones.
    pub(super) fn limits_of(&self, class: Option<&str>) -> (Limits, Option<u64>) {
        let class = class.and_then(|name| self.classes.iter().find(|class| *class.name == *name));
        match class {
            Some(QuotaClass { allocations_per_user, bandwidth_per_allocation, .. }) => (
                Limits { allocations_per_user: *allocations_per_user, ..self.limits },
                *bandwidth_per_allocation,
            ),
            None => (self.limits, self.bandwidth.per_allocation),
        }
    }
}
