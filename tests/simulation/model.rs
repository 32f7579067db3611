//! What the server may do, worked out a second time from the messages alone.
//!
//! The model sees what is handed to the server and what the server answers. It believes a success response, after
//! checking that it was due, and holds everything that is relayed against what those responses promised.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
};

use iceway::{
    stun::{AddressFamily, Class, Message, Method, address_family, attribute, u32_value, xor_address},
    turn::{Expiry, FiveTuple, Options},
};

use crate::{
    people::{self, REALM},
    promise::{Allocation, Channel, Leg, Window},
    revoked::Row,
    wire,
};

/// A port held for a RESERVATION-TOKEN.
pub(crate) struct Reservation {
    pub(crate) by: FiveTuple,
    pub(crate) address: SocketAddr,
    pub(crate) valid: Window,
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
    /// Which nonces an address was given, and when.
    pub(crate) nonces: HashMap<SocketAddr, HashMap<Vec<u8>, u64>>,
    pub(crate) reserved: HashMap<[u8; 8], Reservation>,
    pub(crate) drained_at: Option<u64>,
    /// A peer that the policy denies since the last reload.
    pub(crate) denied: Option<IpAddr>,
    reloaded_at: u64,
    /// Whose allocation has just ended by a Refresh that waited for a look-up: the answer is told after the end.
    pub(crate) ended: Option<FiveTuple>,
    /// All revocations there are.
    pub(crate) rows: Vec<Row>,
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
            drained_at: None,
            denied: None,
            reloaded_at: 0,
            ended: None,
            rows: Vec::new(),
            abandoned: 0,
        }
    }

    pub(crate) fn wait(&mut self, from: FiveTuple, request: &[u8], clocks: Clocks) {
        let message = Message::parse(request).expect("only a request may be pending");
        assert_eq!(message.class(), Class::Request);
        self.assert_not_revoked(from, &message, clocks);
        let waiting = Waiting { request: request.to_vec(), since: clocks.now, unix: clocks.unix };
        let earlier = self.waiting.insert((from, message.transaction_id()), waiting);
        assert!(earlier.is_none(), "two requests of one transaction are pending at once");
    }

    /// A request that was pending is dropped after all. False if it was not pending.
    pub(crate) fn forget(&mut self, from: FiveTuple, id: [u8; 12]) -> bool {
        self.waiting.remove(&(from, id)).is_some()
    }

    pub(crate) fn is_being_worked_on(&self, from: FiveTuple) -> bool {
        self.waiting.keys().any(|(waiting, _)| *waiting == from)
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
        let is_success = Message::parse(reply).is_ok_and(|reply| reply.class() == Class::Success);
        if let (Ok(request), true) = (Message::parse(request), is_success)
            && request.method() != Method::BINDING
        {
            self.assert_not_revoked(to, &request, clocks);
        }
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
        let request = Message::parse(request).expect("what is answered is well-formed");
        let reply = Message::parse(reply).expect("an answer is well-formed");
        assert_eq!(request.class(), Class::Request);
        assert_eq!((reply.method(), reply.transaction_id()), (request.method(), request.transaction_id()));
        if reply.class() == Class::Error {
            return self.refused(to, &request, &reply, clocks);
        }
        assert_eq!(reply.class(), Class::Success);
        if request.method() == Method::BINDING {
            return assert_mapped(to, &reply);
        }
        let username = self.signer(to, &request).expect("a success is for a request that is signed");
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

    /// Whose request this is, if it is signed by them and carries a nonce given to this very address.
    pub(crate) fn signer(&self, from: FiveTuple, request: &Message<'_>) -> Option<String> {
        let nonce = request.find(attribute::NONCE)?;
        let is_issued = self.nonces.get(&from.client).is_some_and(|issued| issued.contains_key(nonce));
        let is_ours = request.find(attribute::REALM) == Some(REALM.as_bytes());
        let by_name = request.find(attribute::USERNAME).and_then(|name| std::str::from_utf8(name).ok());
        let username = by_name.or_else(|| people::by_userhash(request.find(attribute::USERHASH)?))?;
        let passwords = people::right_passwords(username);
        let is_signed = passwords.iter().any(|password| wire::is_signed_by(request, username, password));
        (is_issued && is_ours && is_signed).then(|| username.to_owned())
    }

    fn allocated(&mut self, asked: &Asked<'_>) {
        let Asked { to, request, reply, username, since, clocks, .. } = asked;
        assert_mapped(*to, reply);
        let relayed = addresses(reply, attribute::XOR_RELAYED_ADDRESS);
        let live = self.allocations.get(to);
        if let Some(same) = live.filter(|live| live.made_by == request.transaction_id()) {
            assert_eq!(&same.username, username);
            // A family that has ended in between is not promised again.
            let held = same.legs.iter().filter(|leg| leg.valid.is_sure(clocks.now)).map(|leg| leg.address);
            let is_alike = relayed.iter().all(|address| same.answered.contains(address));
            assert!(is_alike && held.into_iter().all(|address| relayed.contains(&address)), "{relayed:?}");
            return;
        }
        assert!(live.is_none_or(|live| !live.is_sure(clocks.now)), "a second allocation on {to:?}");
        let is_drained = self.drained_at.is_some_and(|drained_at| *since > drained_at);
        assert!(!is_drained, "an allocation while draining");
        if let Some(expires) = people::expires(username) {
            assert!(expires >= asked.unix.min(clocks.unix), "an expired credential still allocates");
        }
        self.assert_places(asked, &relayed);
        let valid = Window::new(*since, clocks.now, self.granted(asked));
        let allocation = Allocation {
            username: username.clone(),
            keys: people::keys(username, request),
            is_revoked: false,
            maybe_revoked: false,
            made_by: request.transaction_id(),
            legs: relayed.iter().map(|&address| Leg { address, valid }).collect(),
            answered: relayed,
            permissions: HashMap::new(),
            channels: HashMap::new(),
            to_peer_datagrams: 0,
            to_client_datagrams: 0,
        };
        self.allocations.insert(*to, allocation);
        self.assert_quotas(*to, &people::said(username), clocks.now);
    }

    fn granted(&self, asked: &Asked<'_>) -> u64 {
        let seconds =
            u32_value(asked.reply.find(attribute::LIFETIME).expect("a success has a lifetime")).unwrap();
        let lifetimes = &self.options.lifetimes;
        assert!(u64::from(seconds) <= lifetimes.allocation_max.as_secs(), "a lifetime of {seconds}");
        if self.expiry(&asked.username) != Expiry::Strict {
            assert!(u64::from(seconds) >= lifetimes.allocation_default.as_secs(), "a lifetime of {seconds}");
        }
        u64::from(seconds) * 1000
    }

    fn refreshed(&mut self, asked: &Asked<'_>) {
        let seconds = asked.request.find(attribute::LIFETIME).map(|value| u32_value(value).unwrap());
        let family = asked.request.find(attribute::REQUESTED_ADDRESS_FAMILY);
        let is_ipv4 = family.map(|value| address_family(value).unwrap() == AddressFamily::Ipv4);
        if seconds != Some(0) {
            let valid = Window::new(asked.since, asked.clocks.now, self.granted(asked));
            let legs = &mut self.own(asked).legs;
            for leg in legs.iter_mut().filter(|leg| is_ipv4.is_none_or(|v4| leg.address.is_ipv4() == v4)) {
                leg.valid = valid;
            }
            return;
        }
        if self.ended.take_if(|client| *client == asked.to).is_some() {
            return;
        }
        let allocation = self.own(asked);
        for family in [true, false].into_iter().filter(|family| is_ipv4.is_none_or(|v4| v4 == *family)) {
            allocation.end_family(family);
        }
        if allocation.legs.is_empty() {
            self.end(asked.to);
        }
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
        let linger = self.options.lifetimes.channel_linger.as_millis() as u64;
        let allocation = self.own(asked);
        for (other, channel) in &allocation.channels {
            let is_same = *other == number && channel.peer == peer;
            let is_other = *other != number && channel.peer != peer;
            assert!(
                is_same || is_other || !channel.valid.surely_lingers(now, linger),
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
        assert!(allocation.leg_for(peer.ip()).is_some(), "{peer} has another family");
        allocation.permissions.insert(peer.ip(), valid);
    }

    /// What the end of a credential means.
    pub(crate) fn expiry(&self, username: &str) -> Expiry {
        people::said(username).expiry.unwrap_or(self.options.expiry)
    }

    /// The allocation a successful request is about: it must be there, and its maker's.
    fn own(&mut self, asked: &Asked<'_>) -> &mut Allocation {
        let now = asked.clocks.now;
        let allocation = self.allocations.get_mut(&asked.to).expect("there is an allocation");
        assert_eq!(allocation.username, asked.username, "another user's allocation");
        assert!(!allocation.is_over(now), "the allocation is over");
        allocation.signed_by(&people::keys(&asked.username, asked.request));
        for is_ipv4 in [true, false] {
            if allocation.legs.iter().any(|leg| leg.address.is_ipv4() == is_ipv4 && leg.valid.is_over(now)) {
                allocation.end_family(is_ipv4);
            }
        }
        allocation
    }

    pub(crate) fn assert_permitted(&self, client: FiveTuple, peer: IpAddr, now: u64) {
        let allocation =
            self.allocations.get(&client).unwrap_or_else(|| panic!("{client:?} has no allocation"));
        let leg = allocation.leg_for(peer).expect("the peer's family is served");
        assert!(!leg.valid.is_over(now), "the allocation of {client:?} is over");
        let valid = allocation.permissions.get(&peer);
        let valid = valid.unwrap_or_else(|| panic!("{client:?} never asked for a permission for {peer}"));
        assert!(!valid.is_over(now), "the permission of {client:?} for {peer} is over: {valid:?} at {now}");
    }

    /// A reload ends what clients have with a peer that is no longer allowed, and looks at credentials again.
    pub(crate) fn reload(&mut self, denied: Option<IpAddr>, clocks: Clocks) {
        let Clocks { now, unix } = clocks;
        (self.denied, self.reloaded_at) = (denied, now);
        let general = self.options.expiry;
        for allocation in self.allocations.values_mut() {
            let expiry = people::said(&allocation.username).expiry.unwrap_or(general);
            let is_strict = expiry == Expiry::Strict;
            if let Some(expires) = people::expires(&allocation.username).filter(|_| is_strict) {
                let last = now + expires.saturating_sub(unix) * 1000;
                allocation.legs.iter_mut().for_each(|leg| leg.valid.shorten(last));
            }
            allocation.permissions.retain(|ip, _| Some(*ip) != denied);
            allocation.channels.retain(|_, channel| Some(channel.peer.ip()) != denied);
        }
    }

    /// An allocation ends, and with it the reservation it made.
    pub(crate) fn end(&mut self, client: FiveTuple) {
        self.allocations.remove(&client);
        self.reserved.retain(|_, reservation| reservation.by != client);
    }

    /// What a client's end takes with it.
    pub(crate) fn closed(&mut self, client: FiveTuple) {
        self.end(client);
        let before = self.waiting.len();
        self.waiting.retain(|(from, _), _| *from != client);
        self.abandoned += (before - self.waiting.len()) as u64;
    }

    /// Requests that were being worked on are not answered any more.
    pub(crate) fn abandon(&mut self, which: impl Fn(&Message<'_>) -> bool) {
        let before = self.waiting.len();
        self.waiting
            .retain(|_, waiting| !Message::parse(&waiting.request).is_ok_and(|request| which(&request)));
        self.abandoned += (before - self.waiting.len()) as u64;
    }
}

pub(crate) struct Asked<'a> {
    pub(crate) to: FiveTuple,
    pub(crate) request: &'a Message<'a>,
    pub(crate) reply: &'a Message<'a>,
    pub(crate) username: String,
    pub(crate) since: u64,
    unix: u64,
    pub(crate) clocks: Clocks,
}

pub(crate) fn addresses(message: &Message<'_>, kind: u16) -> Vec<SocketAddr> {
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

pub(crate) fn is_signed(message: &Message<'_>) -> bool {
    message.find(attribute::MESSAGE_INTEGRITY).is_some()
        || message.find(attribute::MESSAGE_INTEGRITY_SHA256).is_some()
}
