//! A client: it believes what it hears, and does what comes to its mind.

use std::net::SocketAddr;

use iceway::{
    stun::{AddressFamily, Class, Message, Method, attribute},
    turn::FiveTuple,
};

use crate::{
    chance::Chance,
    people::{self, Login},
    wire::{self, Part, Signature, Signing},
};

pub(crate) struct Client {
    pub(crate) five_tuple: FiveTuple,
    login: Login,
    signing: Signing,
    nonce: Vec<u8>,
    algorithms: Vec<u8>,
    pub(crate) relayed: Vec<SocketAddr>,
    channels: Vec<(u16, SocketAddr)>,
    tokens: Vec<[u8; 8]>,
    last: Option<Vec<u8>>,
    has_fingerprint: bool,
}

pub(crate) enum Act {
    Send(Vec<u8>),
    /// The same many times at once.
    Burst(Vec<u8>, usize),
    Close,
}

/// What a client may know of the world.
pub(crate) struct Surroundings<'a> {
    /// Relayed addresses of others.
    pub(crate) strangers: &'a [SocketAddr],
    pub(crate) lifetime_max: u32,
    /// Whether bandwidth is.
    pub(crate) is_limited: bool,
    pub(crate) unix: u64,
}

impl Client {
    pub(crate) fn new(five_tuple: FiveTuple, chance: &mut Chance, unix: u64) -> Self {
        let ttl = 30 + chance.below(4000);
        Self {
            five_tuple,
            login: people::login(chance.next() >> 8, unix, ttl),
            signing: chance.pick(&Signing::ALL),
            nonce: b"none yet".to_vec(),
            algorithms: vec![0, 2, 0, 0, 0, 1, 0, 0],
            relayed: Vec::new(),
            channels: Vec::new(),
            tokens: Vec::new(),
            last: None,
            has_fingerprint: chance.percent(50),
        }
    }

    pub(crate) fn hears(&mut self, bytes: &[u8]) {
        let Ok(message) = Message::parse(bytes) else { return };
        let id = message.transaction_id();
        if let (Some(nonce), Class::Error) = (message.find(attribute::NONCE), message.class()) {
            self.nonce = nonce.to_vec();
            self.algorithms = message.find(attribute::PASSWORD_ALGORITHMS).unwrap_or(&[]).to_vec();
        }
        if message.class() == Class::Success && message.method() == Method::ALLOCATE {
            let relayed = message.attributes().filter(|(kind, _)| *kind == attribute::XOR_RELAYED_ADDRESS);
            self.relayed =
                relayed.filter_map(|(_, value)| iceway::stun::xor_address(value, &id).ok()).collect();
            self.channels.clear();
            let token: Option<[u8; 8]> =
                message.find(attribute::RESERVATION_TOKEN).and_then(|token| token.try_into().ok());
            self.tokens.extend(token);
        }
    }

    pub(crate) fn username(&self) -> &str {
        &self.login.username
    }

    pub(crate) fn tokens(&self) -> &[[u8; 8]] {
        &self.tokens
    }

    /// Another client's token, come by somehow.
    pub(crate) fn learns(&mut self, token: [u8; 8]) {
        self.tokens.push(token);
    }

    pub(crate) fn act(&mut self, chance: &mut Chance, around: &Surroundings<'_>) -> Act {
        if around.is_limited && chance.percent(5) && !self.channels.is_empty() {
            let number = chance.pick(&self.channels).0.clamp(0x4000, 0x4fff);
            return Act::Burst(wire::channel_data(number, &[7; 1200], true), 80);
        }
        if chance.percent(1) {
            // Somebody else goes on with this socket.
            self.login = people::login(chance.next() >> 8, around.unix, 600);
        }
        let doing = if self.relayed.is_empty() { chance.below(14) } else { chance.below(100) };
        let bytes = match doing {
            0 => self.request(chance, Method::BINDING, &[], false),
            1..=11 => self.allocate(chance, around),
            12 => self.request(chance, Method::REFRESH, &[Part::lifetime(600)], true),
            13 => match self.last.clone() {
                Some(last) => last,
                None => self.allocate(chance, around),
            },
            14..=19 => self.refresh(chance, around),
            20..=37 => self.create_permission(chance, around),
            38..=54 => self.channel_bind(chance, around),
            55..=72 => self.send_indication(chance, around),
            73..=95 => self.channel_data(chance),
            96..=97 => self.last.clone().unwrap_or_default(),
            98 if self.five_tuple.is_stream() => return Act::Close,
            _ => self.strange(chance),
        };
        Act::Send(bytes)
    }

    fn request(&mut self, chance: &mut Chance, method: Method, parts: &[Part], is_signed: bool) -> Vec<u8> {
        // Without PASSWORD-ALGORITHMS in the challenge there is only one way.
        let signing = if self.algorithms.is_empty() { Signing::Legacy } else { self.signing };
        let signature =
            Signature { login: &self.login, signing, nonce: &self.nonce, algorithms: &self.algorithms };
        let signature = is_signed.then_some(&signature);
        let bytes =
            wire::message(Class::Request, method, chance.bytes(), parts, signature, self.has_fingerprint);
        self.last = Some(bytes.clone());
        bytes
    }

    fn allocate(&mut self, chance: &mut Chance, around: &Surroundings<'_>) -> Vec<u8> {
        let mut parts = vec![Part::udp()];
        if chance.percent(50) {
            parts.push(Part::lifetime(chance.below(u64::from(around.lifetime_max) * 2) as u32));
        }
        match chance.below(12) {
            0 => parts.push(Part::family(attribute::REQUESTED_ADDRESS_FAMILY, AddressFamily::Ipv6)),
            1 => parts.push(Part::family(attribute::REQUESTED_ADDRESS_FAMILY, AddressFamily::Ipv4)),
            2 | 3 => parts.push(Part::family(attribute::ADDITIONAL_ADDRESS_FAMILY, AddressFamily::Ipv6)),
            4 => parts.push(Part::Raw(attribute::EVEN_PORT, vec![0])),
            5 | 6 => parts.push(Part::Raw(attribute::EVEN_PORT, vec![0x80])),
            7 | 8 if !self.tokens.is_empty() => {
                let token = chance.pick(&self.tokens);
                parts.push(Part::Raw(attribute::RESERVATION_TOKEN, token.to_vec()));
            }
            9 => parts.push(Part::Raw(attribute::DONT_FRAGMENT, vec![])),
            _ => {}
        }
        let is_signed = chance.percent(90);
        self.request(chance, Method::ALLOCATE, &parts, is_signed)
    }

    fn refresh(&mut self, chance: &mut Chance, around: &Surroundings<'_>) -> Vec<u8> {
        let parts = match chance.below(6) {
            0 => vec![Part::lifetime(0)],
            1 => vec![],
            _ => vec![Part::lifetime(chance.below(u64::from(around.lifetime_max) * 2) as u32 + 1)],
        };
        let mut parts: Vec<Part> = parts;
        if chance.percent(20) {
            let family = chance.pick(&[AddressFamily::Ipv4, AddressFamily::Ipv6]);
            parts.push(Part::family(attribute::REQUESTED_ADDRESS_FAMILY, family));
        }
        self.request(chance, Method::REFRESH, &parts, true)
    }

    fn create_permission(&mut self, chance: &mut Chance, around: &Surroundings<'_>) -> Vec<u8> {
        let count = chance.pick(&[0, 1, 1, 1, 1, 2, 3]);
        let peers: Vec<Part> = (0..count).map(|_| Part::peer(some_peer(chance, around))).collect();
        self.request(chance, Method::CREATE_PERMISSION, &peers, true)
    }

    fn channel_bind(&mut self, chance: &mut Chance, around: &Surroundings<'_>) -> Vec<u8> {
        let again = chance.percent(30) && !self.channels.is_empty();
        let (number, peer) = if again {
            chance.pick(&self.channels)
        } else {
            // Few numbers, so that they collide.
            let number =
                if chance.percent(95) { 0x4000 + chance.below(6) as u16 } else { chance.next() as u16 };
            (number, some_peer(chance, around))
        };
        self.channels.push((number, peer));
        self.request(chance, Method::CHANNEL_BIND, &[Part::channel(number), Part::peer(peer)], true)
    }

    fn send_indication(&self, chance: &mut Chance, around: &Surroundings<'_>) -> Vec<u8> {
        let payload = payload(chance);
        let mut parts = vec![Part::peer(some_peer(chance, around)), Part::Raw(attribute::DATA, payload)];
        if chance.percent(10) {
            parts.push(Part::Raw(attribute::DONT_FRAGMENT, vec![]));
        }
        wire::message(Class::Indication, Method::SEND, chance.bytes(), &parts, None, self.has_fingerprint)
    }

    fn channel_data(&self, chance: &mut Chance) -> Vec<u8> {
        let bound = (!self.channels.is_empty()).then(|| chance.pick(&self.channels).0);
        let number = bound.filter(|_| chance.percent(95)).unwrap_or(0x4000 + chance.below(0x1000) as u16);
        let is_padded = self.five_tuple.is_stream() || chance.percent(50);
        wire::channel_data(number.clamp(0x4000, 0x4fff), &payload(chance), is_padded)
    }

    /// Messages no client has reason to send.
    fn strange(&mut self, chance: &mut Chance) -> Vec<u8> {
        let class = chance.pick(&[Class::Indication, Class::Success, Class::Error, Class::Request]);
        let method = Method(chance.below(16) as u16);
        let unknown = Part::Raw(chance.below(0x10000) as u16, chance.bytes::<4>().to_vec());
        if class == Class::Request {
            return self.request(chance, method, &[unknown], true);
        }
        wire::message(class, method, chance.bytes(), &[unknown], None, false)
    }
}

fn some_peer(chance: &mut Chance, around: &Surroundings<'_>) -> SocketAddr {
    match chance.below(10) {
        0 => chance.pick(&people::bad_peers()),
        1..=3 if !around.strangers.is_empty() => chance.pick(around.strangers),
        _ => chance.pick(&people::good_peers()),
    }
}

pub(crate) fn payload(chance: &mut Chance) -> Vec<u8> {
    let length = chance.pick(&[0, 1, 3, 4, 20, 160, 1200]);
    let fill = chance.next() as u8;
    vec![fill; length]
}
