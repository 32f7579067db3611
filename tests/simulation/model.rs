//! What the server may do, worked out a second time from the messages alone.
//!
//! The model sees what is handed to the server and what the server answers. It believes a success response, after
//! checking that it was due, and holds everything that is relayed against what those responses promised. Times are
//! windows: something is certainly valid before `sure_until` and certainly over after `over_after`; in between, a
//! timer may or may not have run.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
};

use iceway::{
    stun::{Class, Message, Method, attribute, error_code, even_port, u32_value, xor_address},
    turn::{Expiry, FiveTuple, Options},
};

use crate::{
    people::{self, REALM},
    wire,
};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) sure_until: u64,
    pub(crate) over_after: u64,
}

impl Window {
    fn new(asked_at: u64, answered_at: u64, milliseconds: u64) -> Self {
        Self { sure_until: asked_at + milliseconds, over_after: answered_at + milliseconds }
    }

    pub(crate) fn is_sure(self, now: u64) -> bool {
        now < self.sure_until
    }

    pub(crate) fn is_over(self, now: u64) -> bool {
        now > self.over_after
    }
}

#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) peer: SocketAddr,
    pub(crate) valid: Window,
}

#[derive(Debug)]
pub(crate) struct Allocation {
    pub(crate) username: String,
    made_by: [u8; 12],
    pub(crate) relayed: Vec<SocketAddr>,
    pub(crate) valid: Window,
    pub(crate) permissions: HashMap<IpAddr, Window>,
    pub(crate) channels: HashMap<u16, Channel>,
    pub(crate) to_peer_datagrams: u64,
    pub(crate) to_client_datagrams: u64,
}

struct Waiting {
    request: Vec<u8>,
    since: u64,
    unix: u64,
}

#[derive(Clone, Copy)]
pub(crate) struct Clocks {
    pub(crate) now: u64,
    pub(crate) unix: u64,
}

pub(crate) struct Model {
    pub(crate) options: Options,
    pub(crate) allocations: HashMap<FiveTuple, Allocation>,
    waiting: HashMap<(FiveTuple, [u8; 12]), Waiting>,
    nonces: HashMap<SocketAddr, HashSet<Vec<u8>>>,
    /// Ports held for a RESERVATION-TOKEN, and until when.
    reserved: HashMap<[u8; 8], (SocketAddr, Window)>,
    pub(crate) is_draining: bool,
    /// A peer that the policy denies since the last reload.
    denied: Option<IpAddr>,
    reloaded_at: u64,
    /// Whether the client of a five-tuple was gone while its request was being worked on.
    pub(crate) abandoned: u64,
}

impl Model {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            options,
            allocations: HashMap::new(),
            waiting: HashMap::new(),
            nonces: HashMap::new(),
            reserved: HashMap::new(),
            is_draining: false,
            denied: None,
            reloaded_at: 0,
            abandoned: 0,
        }
    }

    pub(crate) fn wait(&mut self, from: FiveTuple, request: &[u8], clocks: Clocks) {
        let message = Message::parse(request).expect("only a request may be pending");
        assert_eq!(message.class(), Class::Request);
        let waiting = Waiting { request: request.to_vec(), since: clocks.now, unix: clocks.unix };
        let earlier = self.waiting.insert((from, message.transaction_id()), waiting);
        assert!(earlier.is_none(), "two requests of one transaction are pending at once");
    }

    /// A request that was pending is dropped after all. False if it was not pending.
    pub(crate) fn forget(&mut self, from: FiveTuple, id: [u8; 12]) -> bool {
        self.waiting.remove(&(from, id)).is_some()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// A message that the server sends unasked or late.
    pub(crate) fn late(&mut self, to: FiveTuple, bytes: &[u8], clocks: Clocks) {
        let message = Message::parse(bytes).expect("the server sends well-formed messages");
        if message.class() == Class::Indication {
            assert_eq!(message.method(), Method::DATA);
            assert!(message.find(attribute::ICMP).is_some(), "only ICMP errors are sent this way");
            let peer =
                xor_address(message.find(attribute::XOR_PEER_ADDRESS).unwrap(), &message.transaction_id());
            return self.assert_permitted(to, peer.unwrap().ip(), clocks.now);
        }
        let waiting = self.waiting.remove(&(to, message.transaction_id()));
        let waiting = waiting.unwrap_or_else(|| panic!("{to:?} gets an answer to nothing: {message:?}"));
        self.answered(to, &waiting.request, bytes, waiting.since, waiting.unix, clocks);
    }

    pub(crate) fn answer(&mut self, to: FiveTuple, request: &[u8], reply: &[u8], clocks: Clocks) {
        self.answered(to, request, reply, clocks.now, clocks.unix, clocks);
    }

    fn answered(
        &mut self,
        to: FiveTuple,
        request: &[u8],
        reply: &[u8],
        since: u64,
        unix: u64,
        clocks: Clocks,
    ) {
        let request_bytes = request.len();
        let request = Message::parse(request).expect("what is answered is well-formed");
        let reply = Message::parse(reply).expect("an answer is well-formed");
        assert_eq!(request.class(), Class::Request);
        assert_eq!((reply.method(), reply.transaction_id()), (request.method(), request.transaction_id()));
        if reply.class() == Class::Error {
            return self.refused(to, &request, &reply, request_bytes);
        }
        assert_eq!(reply.class(), Class::Success);
        if request.method() == Method::BINDING {
            return assert_mapped(to, &reply);
        }
        let username = self.authenticated(to, &request);
        let password = people::right_passwords(&username);
        assert!(
            password.iter().any(|password| wire::is_signed_by(&reply, &username, password)),
            "unsigned success"
        );
        let asked = Asked { to, request: &request, reply: &reply, username, since, unix, clocks };
        match request.method() {
            Method::ALLOCATE => self.allocated(&asked),
            Method::REFRESH => self.refreshed(&asked),
            Method::CREATE_PERMISSION => self.permitted(&asked),
            Method::CHANNEL_BIND => self.bound(&asked),
            other => panic!("{other:?} succeeded"),
        }
    }

    fn refused(&mut self, to: FiveTuple, request: &Message<'_>, reply: &Message<'_>, request_bytes: usize) {
        let (code, _) = error_code(reply.find(attribute::ERROR_CODE).expect("an error has a code")).unwrap();
        let has_integrity = request.find(attribute::MESSAGE_INTEGRITY).is_some()
            || request.find(attribute::MESSAGE_INTEGRITY_SHA256).is_some();
        if let Some(nonce) = reply.find(attribute::NONCE) {
            assert!(matches!(code, 401 | 438), "a nonce with {code}");
            self.nonces.entry(to.client).or_default().insert(nonce.to_vec());
        }
        if matches!(code, 401 | 438) {
            assert!(reply.find(attribute::NONCE).is_some() && reply.find(attribute::REALM).is_some());
        }
        if !has_integrity {
            assert!(matches!(code, 400 | 401 | 420), "{code} for an unsigned request");
            let reply_bytes = reply.bytes().len();
            assert!(reply_bytes <= request_bytes + 100, "{reply_bytes} bytes for {request_bytes}");
        }
    }

    /// Whose request this is; it must be signed, and carry a nonce given to this very address.
    fn authenticated(&self, from: FiveTuple, request: &Message<'_>) -> String {
        let nonce = request.find(attribute::NONCE).expect("a success needs a nonce");
        let issued = self.nonces.get(&from.client);
        assert!(
            issued.is_some_and(|issued| issued.contains(nonce)),
            "{from:?} has a nonce of another address"
        );
        assert_eq!(request.find(attribute::REALM), Some(REALM.as_bytes()));
        let by_name = request.find(attribute::USERNAME).map(|name| std::str::from_utf8(name).unwrap());
        let by_hash = || people::by_userhash(request.find(attribute::USERHASH).expect("a user is named"));
        let username = by_name.or_else(by_hash).expect("the user exists");
        let passwords = people::right_passwords(username);
        let is_signed = passwords.iter().any(|password| wire::is_signed_by(request, username, password));
        assert!(is_signed, "a success for {username}, but the request is not signed by them");
        username.to_owned()
    }

    fn allocated(&mut self, asked: &Asked<'_>) {
        let Asked { to, request, reply, username, since, clocks, .. } = asked;
        assert_mapped(*to, reply);
        let relayed = addresses(reply, attribute::XOR_RELAYED_ADDRESS);
        let live = self.allocations.get(to);
        if let Some(same) = live.filter(|live| live.made_by == request.transaction_id()) {
            assert_eq!(
                (&same.relayed, &same.username),
                (&relayed, username),
                "a retransmission is answered alike"
            );
            return;
        }
        assert!(live.is_none_or(|live| !live.valid.is_sure(clocks.now)), "a second allocation on {to:?}");
        assert!(!self.is_draining, "an allocation while draining");
        if let Some(expires) = people::expires(username) {
            assert!(expires >= asked.unix.min(clocks.unix), "an expired credential still allocates");
        }
        self.assert_places(asked, &relayed);
        let valid = Window::new(*since, clocks.now, self.granted(asked));
        let allocation = Allocation {
            username: username.clone(),
            made_by: request.transaction_id(),
            relayed,
            valid,
            permissions: HashMap::new(),
            channels: HashMap::new(),
            to_peer_datagrams: 0,
            to_client_datagrams: 0,
        };
        self.allocations.insert(*to, allocation);
        self.assert_quotas(*to, people::user(username), clocks.now);
    }

    /// The relayed addresses are where they were asked to be, and nobody else's.
    fn assert_places(&mut self, asked: &Asked<'_>, relayed: &[SocketAddr]) {
        let Asked { request, reply, since, clocks, .. } = asked;
        let wants_two = request.find(attribute::ADDITIONAL_ADDRESS_FAMILY).is_some();
        assert!(relayed.len() == 1 || wants_two && relayed.len() == 2, "{relayed:?}");
        for address in relayed {
            let advertised =
                self.options.relay_addresses.iter().any(|relay| relay.advertised == address.ip());
            assert!(advertised, "{address} is not ours");
            let sure =
                |other: &&Allocation| other.valid.is_sure(clocks.now) && other.relayed.contains(address);
            assert!(!self.allocations.values().any(|other| sure(&other)), "{address} is given twice");
        }
        let token = request.find(attribute::RESERVATION_TOKEN).and_then(|token| token.try_into().ok());
        if let Some((reserved, valid)) = token.and_then(|token: [u8; 8]| self.reserved.remove(&token)) {
            assert!(!valid.is_over(*since), "a reservation outlives its time");
            assert_eq!(relayed, [reserved], "a token leads to the port reserved with it");
        } else {
            let is_free = |address: &SocketAddr| {
                !self.reserved.values().any(|(held, valid)| held == address && valid.is_sure(clocks.now))
            };
            assert!(relayed.iter().all(is_free), "{relayed:?} is reserved for another");
        }
        if let Some(reserve_next) = request.find(attribute::EVEN_PORT).map(|value| even_port(value).unwrap())
        {
            assert_eq!(relayed[0].port() % 2, 0, "EVEN-PORT");
            let token = reply.find(attribute::RESERVATION_TOKEN).map(|token| token.try_into().unwrap());
            assert_eq!(token.is_some(), reserve_next);
            if let Some(token) = token {
                let next = SocketAddr::new(relayed[0].ip(), relayed[0].port() + 1);
                let lifetime = self.options.lifetimes.reservation.as_millis() as u64;
                self.reserved.insert(token, (next, Window::new(*since, clocks.now, lifetime)));
            }
        }
    }

    fn assert_quotas(&self, to: FiveTuple, user: &str, now: u64) {
        let sure = || self.allocations.iter().filter(|(_, live)| live.valid.is_sure(now));
        let of_user = sure().filter(|(_, live)| people::user(&live.username) == user).count();
        let of_address = sure().filter(|(five_tuple, _)| five_tuple.client.ip() == to.client.ip()).count();
        let limits = &self.options.limits;
        let is_kept = |count: usize, limit: Option<u32>| limit.is_none_or(|limit| count <= limit as usize);
        // After a reload to lower limits, what was there before stays: those seeds set no limits (see `World`).
        assert!(is_kept(of_user, limits.allocations_per_user), "{of_user} allocations of {user}");
        assert!(
            is_kept(of_address, limits.allocations_per_address),
            "{of_address} allocations of one address"
        );
        assert!(is_kept(sure().count(), limits.allocations_total), "{} allocations", sure().count());
    }

    fn granted(&self, asked: &Asked<'_>) -> u64 {
        let seconds =
            u32_value(asked.reply.find(attribute::LIFETIME).expect("a success has a lifetime")).unwrap();
        let lifetimes = &self.options.lifetimes;
        assert!(u64::from(seconds) <= lifetimes.allocation_max.as_secs(), "a lifetime of {seconds}");
        if self.options.expiry != Expiry::Strict {
            assert!(u64::from(seconds) >= lifetimes.allocation_default.as_secs(), "a lifetime of {seconds}");
        }
        u64::from(seconds) * 1000
    }

    fn refreshed(&mut self, asked: &Asked<'_>) {
        let seconds = asked.request.find(attribute::LIFETIME).map(|value| u32_value(value).unwrap());
        if seconds == Some(0) {
            // A second Refresh to zero may be answered with success too.
            if let Some(live) = self.allocations.get(&asked.to) {
                assert_eq!(live.username, asked.username);
            }
            self.allocations.remove(&asked.to);
            return;
        }
        let valid = Window::new(asked.since, asked.clocks.now, self.granted(asked));
        self.own(asked).valid = valid;
    }

    fn permitted(&mut self, asked: &Asked<'_>) {
        let peers = addresses(asked.request, attribute::XOR_PEER_ADDRESS);
        assert!(!peers.is_empty(), "a permission for nobody");
        for peer in peers {
            self.permit(asked, peer);
        }
    }

    fn bound(&mut self, asked: &Asked<'_>) {
        let peer = addresses(asked.request, attribute::XOR_PEER_ADDRESS)[0];
        let number = asked.request.find(attribute::CHANNEL_NUMBER).expect("a channel has a number");
        let number = iceway::stun::channel_number(number).unwrap();
        let highest = if self.options.legacy_channel_numbers { 0x7fff } else { 0x4fff };
        assert!((0x4000..=highest).contains(&number), "channel {number:#x}");
        self.permit(asked, peer);
        let valid =
            Window::new(asked.since, asked.clocks.now, self.options.lifetimes.channel.as_millis() as u64);
        let now = asked.clocks.now;
        let allocation = self.own(asked);
        for (other, channel) in &allocation.channels {
            let is_same = *other == number && channel.peer == peer;
            let is_other = *other != number && channel.peer != peer;
            assert!(
                is_same || is_other || !channel.valid.is_sure(now),
                "{number:#x} and {peer} are bound elsewhere"
            );
        }
        allocation.channels.retain(|other, channel| *other != number && channel.peer != peer);
        allocation.channels.insert(number, Channel { peer, valid });
    }

    fn permit(&mut self, asked: &Asked<'_>, peer: SocketAddr) {
        let is_own = self
            .options
            .relay_addresses
            .iter()
            .any(|relay| relay.advertised == peer.ip() || relay.local == peer.ip());
        let is_denied = self.denied == Some(peer.ip()) && asked.since > self.reloaded_at;
        assert!(is_own || people::is_good(peer.ip()) && !is_denied, "a permission for {peer}");
        let valid =
            Window::new(asked.since, asked.clocks.now, self.options.lifetimes.permission.as_millis() as u64);
        let allocation = self.own(asked);
        let family = allocation.relayed.iter().any(|relayed| relayed.is_ipv4() == peer.is_ipv4());
        assert!(family, "{peer} has another family");
        allocation.permissions.insert(peer.ip(), valid);
    }

    /// The allocation a successful request is about: it must be there, and its maker's.
    fn own(&mut self, asked: &Asked<'_>) -> &mut Allocation {
        let allocation = self.allocations.get_mut(&asked.to).expect("there is an allocation");
        assert_eq!(allocation.username, asked.username, "another user's allocation");
        assert!(!allocation.valid.is_over(asked.clocks.now), "the allocation is over");
        allocation
    }

    pub(crate) fn assert_permitted(&self, client: FiveTuple, peer: IpAddr, now: u64) {
        let allocation =
            self.allocations.get(&client).unwrap_or_else(|| panic!("{client:?} has no allocation"));
        assert!(!allocation.valid.is_over(now), "the allocation of {client:?} is over");
        let valid = allocation.permissions.get(&peer);
        let valid = valid.unwrap_or_else(|| panic!("{client:?} never asked for a permission for {peer}"));
        assert!(
            !valid.is_over(now),
            "the permission of {client:?} for {peer} is over since {}",
            valid.over_after
        );
    }

    /// A reload ends what clients have with a peer that is no longer allowed.
    pub(crate) fn deny(&mut self, denied: Option<IpAddr>, now: u64) {
        (self.denied, self.reloaded_at) = (denied, now);
        for allocation in self.allocations.values_mut() {
            allocation.permissions.retain(|ip, _| Some(*ip) != denied);
            allocation.channels.retain(|_, channel| Some(channel.peer.ip()) != denied);
        }
    }

    /// What a client's end takes with it.
    pub(crate) fn closed(&mut self, client: FiveTuple) {
        self.allocations.remove(&client);
        let before = self.waiting.len();
        self.waiting.retain(|(from, _), _| *from != client);
        self.abandoned += (before - self.waiting.len()) as u64;
    }
}

struct Asked<'a> {
    to: FiveTuple,
    request: &'a Message<'a>,
    reply: &'a Message<'a>,
    username: String,
    since: u64,
    unix: u64,
    clocks: Clocks,
}

fn addresses(message: &Message<'_>, kind: u16) -> Vec<SocketAddr> {
    let id = message.transaction_id();
    message
        .attributes()
        .filter(|(found, _)| *found == kind)
        .map(|(_, value)| xor_address(value, &id).unwrap())
        .collect()
}

fn assert_mapped(to: FiveTuple, reply: &Message<'_>) {
    assert_eq!(
        addresses(reply, attribute::XOR_MAPPED_ADDRESS),
        [to.client],
        "the mapped address is the sender's"
    );
}
