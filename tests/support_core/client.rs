//! A client with credentials.

use std::net::SocketAddr;

use iceway::{
    credentials::Wish,
    stun::{IntegrityKey, attribute, long_term_key_md5, long_term_key_sha256, userhash},
    turn::FiveTuple,
};

use super::{Answer, EPOCH, Outcome, REALM, Request, SECRET, Scene, addr, directory, secret, udp};

/// A client: where it is, who it says it is, and what the server last told it.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) from: FiveTuple,
    pub(crate) username: String,
    pub(crate) password: String,
    pub(crate) nonce: Vec<u8>,
    pub(crate) realm: String,
    /// Name PASSWORD-ALGORITHM: 1 is MD5, 2 is SHA-256.
    pub(crate) algorithm: Option<u8>,
    /// Sign with MESSAGE-INTEGRITY-SHA256.
    pub(crate) sha256: bool,
    pub(crate) hashed: bool,
}

impl Client {
    /// The static user alice.
    pub(crate) fn alice(from: &str) -> Self {
        Self::user(udp(from), "alice", "wonderland")
    }

    pub(crate) fn user(from: FiveTuple, username: &str, password: &str) -> Self {
        Self {
            from,
            username: username.into(),
            password: password.into(),
            nonce: Vec::new(),
            realm: REALM.into(),
            algorithm: None,
            sha256: false,
            hashed: false,
        }
    }

    /// A time-limited credential that ends so many seconds after the scene began.
    pub(crate) fn limited(from: &str, user: &str, seconds: u64) -> Self {
        let username = format!("{}:{user}", EPOCH + seconds);
        let password = secret("k1", SECRET).password(&username);
        Self::user(udp(from), &username, password.as_str())
    }

    /// A credential with claims, made when the scene begins.
    pub(crate) fn minted(from: &str, wish: &Wish<'_>) -> Self {
        let credential = directory().mint_claims(wish, EPOCH).unwrap();
        Self::user(udp(from), &credential.username, credential.password.as_str())
    }

    pub(crate) fn key(&self) -> IntegrityKey {
        match self.algorithm {
            Some(2) => IntegrityKey::new(&long_term_key_sha256(&self.username, &self.realm, &self.password)),
            _ => IntegrityKey::new(&long_term_key_md5(&self.username, &self.realm, &self.password)),
        }
    }

    /// The request, signed.
    pub(crate) fn sign(&self, request: &Request) -> Vec<u8> {
        let mut request = request.clone();
        if self.hashed {
            request = request.with(attribute::USERHASH, &userhash(&self.username, &self.realm));
        } else {
            request = request.with(attribute::USERNAME, self.username.as_bytes());
        }
        request = request.with(attribute::REALM, self.realm.as_bytes()).with(attribute::NONCE, &self.nonce);
        if let Some(algorithm) = self.algorithm {
            request = request
                .with(attribute::PASSWORD_ALGORITHMS, &[0, 2, 0, 0, 0, 1, 0, 0])
                .with(attribute::PASSWORD_ALGORITHM, &[0, algorithm, 0, 0]);
        }
        self.sign_as_it_is(&request)
    }

    /// The request with integrity, and nothing else added.
    pub(crate) fn sign_as_it_is(&self, request: &Request) -> Vec<u8> {
        let key = self.key();
        request.write(|writer| {
            if self.sha256 {
                writer.integrity_sha256(&key).unwrap()
            } else {
                writer.integrity_sha1(&key).unwrap()
            }
        })
    }

    /// Asks for a nonce with an unauthenticated request.
    pub(crate) fn challenge(&mut self, scene: &mut Scene) -> Answer {
        let answer = scene.input(self.from, &Request::allocate().bytes()).answer();
        assert_eq!(answer.code(), 401);
        self.nonce = answer.value(attribute::NONCE);
        answer
    }

    /// Sends a signed request; the nonce is asked for if there is none.
    pub(crate) fn outcome(&mut self, scene: &mut Scene, request: &Request) -> Outcome {
        if self.nonce.is_empty() {
            self.challenge(scene);
        }
        scene.input(self.from, &self.sign(request))
    }

    /// Sends a signed request and returns the answer, whenever it comes. It must be signed, unless it says that the
    /// credentials are at fault.
    pub(crate) fn ask(&mut self, scene: &mut Scene, request: &Request) -> Answer {
        let answer = match self.outcome(scene, request) {
            Outcome::Pending => scene.late_answer(),
            other => other.answer(),
        };
        assert_eq!(answer.message().transaction_id(), request.transaction_id);
        assert_eq!(answer.message().method(), request.method);
        if !matches!(answer.code(), 401 | 438) {
            let signed = if self.algorithm.is_some() {
                answer.is_signed_sha256(&self.key())
            } else {
                answer.is_signed_sha1(&self.key())
            };
            assert!(signed, "{answer:?} is not signed as it should be");
        }
        answer
    }

    /// Makes an allocation and returns its relayed transport address.
    pub(crate) fn allocate(&mut self, scene: &mut Scene) -> SocketAddr {
        let answer = self.ask(scene, &Request::allocate());
        assert_eq!(answer.code(), 0);
        answer.relayed()[0]
    }

    pub(crate) fn permit(&mut self, scene: &mut Scene, peers: &[&str]) -> u16 {
        self.ask(scene, &Request::create_permission(peers)).code()
    }

    pub(crate) fn bind(&mut self, scene: &mut Scene, number: u16, peer: &str) -> u16 {
        self.ask(scene, &Request::channel_bind(number, peer)).code()
    }

    /// Sends a Send indication.
    pub(crate) fn send(&self, scene: &mut Scene, peer: &str, data: &[u8]) -> Outcome {
        scene.input(self.from, &Request::send(peer, data).bytes())
    }

    /// Sends ChannelData.
    pub(crate) fn send_on(&self, scene: &mut Scene, number: u16, data: &[u8]) -> Outcome {
        let mut datagram = iceway::stun::channel_data_header(number, data.len() as u16).to_vec();
        datagram.extend_from_slice(data);
        scene.input(self.from, &datagram)
    }

    pub(crate) fn at(mut self, from: &str) -> Self {
        self.from = udp(from);
        self.nonce.clear();
        self
    }

    pub(crate) fn address(&self) -> SocketAddr {
        addr(&self.from.client.to_string())
    }
}
