//! Error responses: each needs a reason.

use std::net::SocketAddr;

use iceway::{
    stun::{Message, Method, attribute, error_code},
    turn::{FiveTuple, QuotaClass},
};

use crate::{
    model::{Clocks, Model, addresses, is_signed},
    people,
};

/// The driver may be so late that the core still counts what is over.
const LATENESS_MAX: u64 = 1_000;

impl Model {
    pub(crate) fn refused(
        &mut self,
        to: FiveTuple,
        request: &Message<'_>,
        reply: &Message<'_>,
        clocks: Clocks,
    ) {
        let (code, _) = error_code(reply.find(attribute::ERROR_CODE).expect("an error has a code")).unwrap();
        if request.method() == Method::BINDING {
            assert_eq!(code, 420, "Binding needs no credentials");
        } else if self.signer(to, request).is_some() {
            self.assert_reason(to, request, code, clocks);
        } else if is_signed(request) {
            assert!(matches!(code, 400 | 401 | 438), "{code} tells a stranger too much");
        } else {
            assert!(matches!(code, 400 | 401 | 420), "{code} for an unsigned request");
            let (reply_bytes, request_bytes) = (reply.bytes().len(), request.bytes().len());
            assert!(reply_bytes <= request_bytes + 100, "{reply_bytes} bytes for {request_bytes}");
        }
        if let Some(username) = self.signer(to, request)
            && let Some(live) = self.allocations.get_mut(&to).filter(|live| live.username == username)
        {
            live.signed_by(&people::keys(&username, request));
        }
        let nonce = reply.find(attribute::NONCE);
        assert_eq!(
            nonce.is_some(),
            matches!(code, 401 | 438),
            "a nonce goes with 401 and 438, not with {code}"
        );
        assert_eq!(reply.find(attribute::REALM).is_some(), nonce.is_some());
        if let Some(nonce) = nonce {
            self.nonces.entry(to.client).or_default().insert(nonce.to_vec(), clocks.unix);
        }
    }

    fn assert_reason(&self, to: FiveTuple, request: &Message<'_>, code: u16, clocks: Clocks) {
        let Clocks { now, unix } = clocks;
        let live = self.allocations.get(&to);
        let is_surely_live = live.is_some_and(|live| live.is_sure(now));
        let peers = addresses(request, attribute::XOR_PEER_ADDRESS);
        match code {
            403 => assert!(peers.iter().any(|peer| !self.is_surely_legal(*peer)), "403 for {peers:?}"),
            437 if request.method() == Method::ALLOCATE => {
                assert!(live.is_some() || self.is_being_worked_on(to), "437, but {to:?} has no allocation");
            }
            437 => assert!(!is_surely_live, "437, but {to:?} has {live:?}"),
            438 => {
                let nonce = request.find(attribute::NONCE).expect("438 is about a nonce");
                let issued = self.nonces.get(&to.client).and_then(|issued| issued.get(nonce));
                let age = issued.and_then(|issued| unix.checked_sub(*issued));
                let lifetime = self.options.lifetimes.nonce.as_secs();
                assert!(age.is_none_or(|age| age > lifetime), "438 for a nonce of {age:?} s");
            }
            441 => {
                let name = request.find(attribute::USERNAME);
                let is_other = |name| live.is_none_or(|live| live.username.as_bytes() != name);
                assert!(name.is_none_or(is_other), "441 for the maker of the allocation");
            }
            443 => {
                // An IPv4-mapped address is of neither family.
                let is_plain = |peer: &SocketAddr| peer.ip().to_canonical() == peer.ip();
                let leg = |peer: &SocketAddr| live.and_then(|live| live.leg_for(peer.ip()));
                let is_served =
                    |peer: &SocketAddr| is_plain(peer) && leg(peer).is_some_and(|leg| leg.valid.is_sure(now));
                let names_family = request.find(attribute::REQUESTED_ADDRESS_FAMILY).is_some();
                assert!(names_family || peers.iter().any(|peer| !is_served(peer)), "443 for {peers:?}");
            }
            486 => {
                let limits = &self.options.limits;
                let limit = limits.allocations_per_user.or(limits.allocations_per_address);
                let of_class = |class: &QuotaClass| class.allocations_per_user.is_some();
                assert!(limit.is_some() || self.options.classes.iter().any(of_class), "486 unlimited");
            }
            400 if request.method() == Method::CHANNEL_BIND => self.assert_conflict(to, request, now),
            508 if request.method() == Method::CREATE_PERMISSION => self.assert_full(to, &peers, now),
            _ => {}
        }
    }

    /// 400 to a ChannelBind: something is missing or wrong in it, or bound (or lingers) otherwise.
    fn assert_conflict(&self, to: FiveTuple, request: &Message<'_>, now: u64) {
        let peer = addresses(request, attribute::XOR_PEER_ADDRESS).first().copied();
        let number =
            request.find(attribute::CHANNEL_NUMBER).and_then(|n| iceway::stun::channel_number(n).ok());
        let (Some(peer), Some(number), Some(live)) = (peer, number, self.allocations.get(&to)) else {
            return;
        };
        let linger = self.options.lifetimes.channel_linger.as_millis() as u64;
        let collides = live.channels.iter().any(|(other, channel)| {
            (*other == number) != (channel.peer == peer) && !channel.valid.is_forgotten(now, linger)
        });
        let is_in_range = (0x4000..=0x4fff).contains(&number);
        let has_trouble = request.find(attribute::PASSWORD_ALGORITHM).is_some();
        assert!(
            collides || !is_in_range || has_trouble,
            "400 for {number:#x} and {peer}: {:?}",
            live.channels
        );
    }

    /// 508 to a CreatePermission: there are as many as there may be.
    fn assert_full(&self, to: FiveTuple, peers: &[SocketAddr], now: u64) {
        let Some(live) = self.allocations.get(&to) else { return };
        let held = live.permissions.iter().filter(|(_, valid)| !valid.is_forgotten(now, LATENESS_MAX));
        let mut all: Vec<_> = held.map(|(ip, _)| *ip).chain(peers.iter().map(SocketAddr::ip)).collect();
        all.sort_unstable();
        all.dedup();
        let limit = usize::from(self.options.limits.permissions_per_allocation);
        assert!(all.len() > limit, "508 with {} permissions of {limit}", all.len());
    }

    fn is_surely_legal(&self, peer: SocketAddr) -> bool {
        people::is_good(peer.ip()) && self.denied != Some(peer.ip())
    }
}
