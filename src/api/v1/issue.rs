//! Making credentials: for whom, with which nodes.

use std::{net::IpAddr, time::Duration};

use super::super::{
    choice::{Preference, choose},
    problem::{NO_CAPACITY, NO_SECRET, NO_URI, Problem},
    service::{Dialect, Service, Settings, unix_millis},
};
use crate::{
    cluster::NodeInfo,
    credentials::{Claims, Credential, Directory, Expiry, Revocations, Wish},
    turn::Transport,
};

/// When to ask again after no node was fit: the time of two heartbeats.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// More revocations than this that hit one name one after another do not happen by themselves.
const REVOCATIONS_PASSED_MAX: usize = 64;

/// A credential that somebody may have; every field has been checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order<'a> {
    pub(crate) dialect: Dialect,
    /// May be empty with [`Form::Plain`].
    pub(crate) user: &'a str,
    pub(crate) ttl: Duration,
    pub(crate) label: Option<&'a str>,
    pub(crate) class: Option<&'a str>,
    pub(crate) expiry: Option<Expiry>,
    pub(crate) region: Option<&'a str>,
    pub(crate) client: Option<IpAddr>,
    pub(crate) routes: Routes,
    pub(crate) count: usize,
    pub(crate) form: Form,
}

impl<'a> Order<'a> {
    /// For `user`, with nothing else asked for.
    pub(crate) const fn new(dialect: Dialect, user: &'a str, ttl: Duration) -> Self {
        Self {
            dialect,
            user,
            ttl,
            label: None,
            class: None,
            expiry: None,
            region: None,
            client: None,
            routes: Routes::ALL,
            count: 1,
            form: Form::Claims,
        }
    }
}

/// What the username looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// With everything that is known: label, class, time of issue.
    Claims,
    /// `<expires>:<user>`, as other software expects it.
    Plain,
}

/// How clients want to reach a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Routes {
    pub(crate) udp: bool,
    pub(crate) tcp: bool,
    pub(crate) tls: bool,
    pub(crate) ipv4: bool,
    pub(crate) ipv6: bool,
    /// `stun:` beside `turn:`.
    pub(crate) stun: bool,
}

impl Routes {
    pub(crate) const ALL: Self = Self { udp: true, tcp: true, tls: true, ipv4: true, ipv6: true, stun: true };

    fn take(&self, uri: &str) -> bool {
        let Some(uri) = Uri::read(uri) else { return false };
        let by_transport = match uri.transport {
            None => self.stun && self.udp,
            Some(Transport::Udp) => self.udp,
            Some(Transport::Tcp) => self.tcp,
            Some(Transport::Tls) => self.tls,
        };
        let by_family = match uri.ip {
            None => true,
            Some(IpAddr::V4(_)) => self.ipv4,
            Some(IpAddr::V6(_)) => self.ipv6,
        };
        by_transport && by_family
    }

    /// Whether a node can be used: a `turn:` or `turns:` URI is left.
    fn lead_to(&self, node: &NodeInfo) -> bool {
        let turn = |uri: &&String| !uri.starts_with("stun");
        node.uris.iter().filter(turn).any(|uri| *self == Self::ALL || self.take(uri))
    }
}

/// What was made.
#[derive(Debug)]
pub(crate) struct Issued {
    pub(crate) credential: Credential,
    /// Id and region of each node, the best first.
    pub(crate) nodes: Vec<(String, String)>,
    /// `stun:` URIs of these nodes.
    pub(crate) stun: Vec<String>,
    /// `turn:` and `turns:` URIs of these nodes.
    pub(crate) turn: Vec<String>,
}

impl Service {
    /// Makes a credential, and says where it can be used.
    ///
    /// # Errors
    /// 503 `no_secret`, 503 `no_capacity`, 409 `no_uri`.
    pub(crate) fn issue(&self, order: &Order<'_>, settings: &Settings) -> Result<Issued, Problem> {
        let millis = unix_millis();
        let known = self.cluster.nodes();
        let own = self.cluster.id();
        let is_draining = self.node.is_draining();
        let fits = |node: &NodeInfo| order.routes.lead_to(node) && !(is_draining && node.id == own);
        let preference = Preference {
            region: order.region,
            home: &settings.config.node.region,
            label: order.label,
            count: order.count,
            own,
            now: millis,
        };
        let chosen = choose(&known.list, fits, &preference, || self.random());
        if chosen.is_empty() {
            return Err(nobody(order, &known.list));
        }
        let credential = self.mint(order, millis / 1000).ok_or(NO_SECRET)?;
        let (mut stun, mut turn) = (Vec::new(), Vec::new());
        for uri in chosen.iter().flat_map(|node| &node.uris).filter(|uri| order.routes.take(uri)) {
            if uri.starts_with("stun") { &mut stun } else { &mut turn }.push(uri.clone());
        }
        if let Some(client) = order.client {
            // A stable sort: the order of nodes and transports stays.
            turn.sort_by_key(|uri| Uri::read(uri).is_some_and(|uri| uri.is_of_other_family(client)));
        }
        self.count_issued(order.dialect);
        self.tell_issued(order.user, order.label, &credential);
        let nodes = chosen.iter().map(|node| (node.id.clone(), node.region.clone())).collect();
        Ok(Issued { credential, nodes, stun, turn })
    }

    fn mint(&self, order: &Order<'_>, now: u64) -> Option<Credential> {
        let directory = self.cluster.directory();
        let revocations = self.cluster.revocations();
        let plain = match order.form {
            Form::Plain => mint_plain(&directory, &revocations, order, now),
            Form::Claims => None,
        };
        plain.or_else(|| mint_claims(&directory, &revocations, order, now))
    }
}

/// `None` if a revocation that was meant for earlier ones would hit it: such a name does not tell when it was made. Nor
/// may a user's name pass for claims, which are the server's to make.
fn mint_plain(
    directory: &Directory,
    revocations: &Revocations,
    order: &Order<'_>,
    now: u64,
) -> Option<Credential> {
    let claims = Claims::read(order.user);
    if !claims.is_plain() {
        return None;
    }
    let made = directory.mint(order.user, order.ttl, now)?;
    let hit = revocations.hit(&made.username, &claims, Some(&made.key_id), made.expires, now);
    hit.is_none().then_some(made)
}

/// Issued now, or a moment later: whoever was revoked this very second can have a new one at once.
fn mint_claims(
    directory: &Directory,
    revocations: &Revocations,
    order: &Order<'_>,
    now: u64,
) -> Option<Credential> {
    // Software that names nobody gets one user for all.
    let user = if order.user.is_empty() { "anonymous" } else { order.user };
    let wish = Wish { user, label: order.label, class: order.class, expiry: order.expiry, ttl: order.ttl };
    let mut issued = now;
    for _ in 0..REVOCATIONS_PASSED_MAX {
        let made = directory.mint_claims(&wish, issued)?;
        if revocations.is_empty() {
            return Some(made);
        }
        let claims = Claims {
            user,
            label: order.label,
            key_id: Some(made.key_id.as_str()),
            issued: Some(issued),
            class: order.class,
            expiry: order.expiry,
        };
        match revocations.hit(&made.username, &claims, Some(&made.key_id), made.expires, now) {
            None => return Some(made),
            Some(revocation) => issued = revocation.issued_before.checked_add(1)?,
        }
    }
    None
}

fn nobody(order: &Order<'_>, nodes: &[NodeInfo]) -> Problem {
    if !nodes.iter().any(|node| order.routes.lead_to(node)) {
        return NO_URI.with("No node has a URI of these transports and address families.");
    }
    let problem = NO_CAPACITY.problem().retry_after(RETRY_AFTER);
    match order.region {
        Some(_) => problem.detail("Every node of this region is draining, full or silent, or there is none."),
        None => problem.detail("Every node is draining, full or silent."),
    }
}

/// What a URI says about the way it leads.
struct Uri {
    /// `None` for `stun:`.
    transport: Option<Transport>,
    /// `None` for a host name.
    ip: Option<IpAddr>,
}

impl Uri {
    fn read(uri: &str) -> Option<Self> {
        let (scheme, rest) = uri.split_once(':')?;
        let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
        let transport = match scheme {
            "stun" | "stuns" => None,
            "turns" => Some(Transport::Tls),
            "turn" if query == "transport=tcp" => Some(Transport::Tcp),
            "turn" => Some(Transport::Udp),
            _ => return None,
        };
        let host = match authority.strip_prefix('[') {
            Some(literal) => literal.split(']').next()?,
            None => authority.split(':').next()?,
        };
        Some(Self { transport, ip: host.parse().ok() })
    }

    fn is_of_other_family(&self, client: IpAddr) -> bool {
        self.ip.is_some_and(|ip| ip.is_ipv4() != client.is_ipv4())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::{KeyId, Revocation, Secret, parse_time_limited};

    const NOW: u64 = 1_800_000_000;

    fn directory() -> Directory {
        Directory::builder("r").secret(Secret::new(KeyId::new("k1").unwrap(), b"north")).build().unwrap()
    }

    fn everybody_before(issued_before: u64, user: Option<&str>) -> Revocation {
        Revocation {
            id: "r1".into(),
            username: None,
            user: user.map(Into::into),
            label: None,
            key_id: None,
            issued_before,
            expires: issued_before + 86_400,
            cut: true,
        }
    }

    fn order(user: &str, form: Form) -> Order<'_> {
        Order { form, ..Order::new(Dialect::Native, user, Duration::from_secs(3600)) }
    }

    #[test]
    fn a_plain_name_is_made_unless_a_revocation_would_hit_it() {
        let plain = order("bob", Form::Plain);
        let none = Revocations::new([]);
        let made = mint_plain(&directory(), &none, &plain, NOW).unwrap();
        assert_eq!(made.username, format!("{}:bob", NOW + 3600));
        let of_bob = Revocations::new([everybody_before(NOW, Some("bob"))]);
        assert!(mint_plain(&directory(), &of_bob, &plain, NOW + 60).is_none());
        assert!(mint_plain(&directory(), &of_bob, &order("eve", Form::Plain), NOW + 60).is_some());
    }

    #[test]
    fn whoever_was_revoked_this_second_gets_a_new_one_at_once() {
        let revocations =
            Revocations::new([everybody_before(NOW, Some("bob")), everybody_before(NOW + 2, None)]);
        let made = mint_claims(&directory(), &revocations, &order("bob", Form::Claims), NOW).unwrap();
        let user = parse_time_limited(&made.username, ':').unwrap().user;
        let claims = Claims::read(user);
        assert_eq!((claims.user, claims.issued), ("bob", Some(NOW + 3)));
        assert!(revocations.hit(&made.username, &claims, Some(&made.key_id), made.expires, NOW).is_none());
    }

    #[test]
    fn a_user_cannot_make_claims() {
        let forged = order("bob~1~k1~9999999999~~gold~", Form::Plain);
        let none = Revocations::new([]);
        assert!(mint_plain(&directory(), &none, &forged, NOW).is_none());
        let made = mint_claims(&directory(), &none, &forged, NOW).unwrap();
        let claims = Claims::read(parse_time_limited(&made.username, ':').unwrap().user);
        assert_eq!(claims.user, forged.user);
        assert_eq!((claims.class, claims.issued), (None, Some(NOW)));
    }

    #[test]
    fn routes_take_the_uris_that_were_asked_for() {
        let uris = [
            "stun:192.0.2.1:3478",
            "turn:192.0.2.1:3478?transport=udp",
            "turn:[2001:db8::1]:3478?transport=tcp",
            "turns:turn.example.org:5349?transport=tcp",
        ];
        let taken = |routes: Routes| -> Vec<bool> { uris.iter().map(|uri| routes.take(uri)).collect() };
        assert_eq!(taken(Routes::ALL), [true; 4]);
        assert_eq!(taken(Routes { udp: false, ..Routes::ALL }), [false, false, true, true]);
        assert_eq!(taken(Routes { ipv4: false, ..Routes::ALL }), [false, false, true, true]);
        assert_eq!(taken(Routes { tls: false, stun: false, ..Routes::ALL }), [false, true, true, false]);
        assert!(!Routes::ALL.take("https://example.org"));
    }
}
