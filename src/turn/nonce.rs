//! Nonces that need no memory.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

/// The nonce cookie of RFC 8489 §9.2.
const COOKIE: [u8; 9] = *b"obMatJos2";
/// The security features behind it, in base64.
const FEATURES_BYTES: usize = 4;
const PREFIX_BYTES: usize = COOKIE.len() + FEATURES_BYTES;
/// Two bytes of time, six of HMAC.
const TAG_BYTES: usize = 8;
const TEXT_BYTES: usize = 11;
/// How far the clock of the node that issued a nonce may be ahead.
const SKEW_SECONDS_MAX: u64 = 60;
/// The seconds that two bytes tell apart, less the skew: no nonce is valid for longer, 18 hours.
const AGE_SECONDS_MAX: u64 = 65_536 - SKEW_SECONDS_MAX - 1;

/// The security features of RFC 8489 §18.1 that a nonce tells the client of. The default is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// PASSWORD-ALGORITHMS goes with the nonce. A client that finds it missing has been tampered with.
    pub password_algorithms: bool,
    /// Clients must send USERHASH in place of USERNAME.
    pub username_anonymity: bool,
}

impl Features {
    /// What a nonce claims, ours or not; `None` without the nonce cookie, or with features unknown to us.
    #[must_use]
    pub fn of(nonce: &[u8]) -> Option<Self> {
        let text = nonce.strip_prefix(&COOKIE)?.first_chunk::<FEATURES_BYTES>()?;
        let all = [(false, false), (true, false), (false, true), (true, true)];
        let mut all = all.map(|(password_algorithms, username_anonymity)| Self {
            password_algorithms,
            username_anonymity,
        });
        all.iter_mut().find(|features| features.text() == *text).copied()
    }

    /// The 24 bits, of which bit 0 is the leftmost, in base64.
    const fn text(self) -> [u8; FEATURES_BYTES] {
        match (self.password_algorithms, self.username_anonymity) {
            (false, false) => *b"AAAA",
            (true, false) => *b"gAAA",
            (false, true) => *b"QAAA",
            (true, true) => *b"wAAA",
        }
    }
}

/// Makes and checks nonces without remembering any.
///
/// A nonce says when it was made and carries an HMAC-SHA256 over that time, the security features and the client's
/// address and port, so it is worth nothing to anybody else. It is as short as can be, since it is part of the answer
/// to an unauthenticated request: 24 characters, 13 of them fixed by RFC 8489 §9.2. To guess the 48 bits of HMAC an
/// attacker would need to ask 2⁴⁷ times, and would have gained one address to lie about.
///
/// All nodes of a cluster may share the key. The key is wiped on drop.
#[derive(Clone)]
pub struct NonceKey {
    keyed: Hmac<Sha256>,
}

impl NonceKey {
    /// Keys the HMAC.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self { keyed: Hmac::new_from_slice(key).expect("HMAC takes a key of any length") }
    }

    /// A nonce for `client`; `now_unix` in seconds since the Unix epoch. The features can't be changed on the way.
    #[must_use]
    pub fn issue(&self, now_unix: u64, client: SocketAddr, features: Features) -> Nonce {
        let mut text = [0; Nonce::BYTES];
        let (prefix, tag) = text.split_at_mut(PREFIX_BYTES);
        prefix[..COOKIE.len()].copy_from_slice(&COOKIE);
        prefix[COOKIE.len()..].copy_from_slice(&features.text());
        let written = URL_SAFE_NO_PAD.encode_slice(self.tag(now_unix, client, features), tag);
        debug_assert_eq!(written, Ok(TEXT_BYTES), "8 bytes are 11 characters");
        Nonce(text)
    }

    /// Checks that `nonce` was issued to `client` at most `lifetime` ago (no more than 18 hours). Comparison takes
    /// the same time wherever the difference is.
    ///
    /// # Errors
    /// [`NonceError`]; each is answered 438 with a fresh nonce (RFC 8489 §9.2.4).
    pub fn check(
        &self,
        nonce: &[u8],
        client: SocketAddr,
        now_unix: u64,
        lifetime: Duration,
    ) -> Result<(), NonceError> {
        let features = Features::of(nonce).ok_or(NonceError::Malformed)?;
        let tag = decode(nonce).ok_or(NonceError::Malformed)?;
        let issued = issue_time(u16::from_be_bytes([tag[0], tag[1]]), now_unix).ok_or(NonceError::Forged)?;
        if !bool::from(self.tag(issued, client, features).ct_eq(&tag)) {
            return Err(NonceError::Forged);
        }
        let age = now_unix.saturating_sub(issued);
        if age > lifetime.as_secs().min(AGE_SECONDS_MAX) { Err(NonceError::Stale) } else { Ok(()) }
    }

    fn tag(&self, issued: u64, client: SocketAddr, features: Features) -> [u8; TAG_BYTES] {
        let ip = match client.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let mut input = [0; 30];
        input[..16].copy_from_slice(&ip.octets());
        input[16..18].copy_from_slice(&client.port().to_be_bytes());
        input[18..26].copy_from_slice(&issued.to_be_bytes());
        input[26..].copy_from_slice(&features.text());
        let mac: [u8; 32] = self.keyed.clone().chain_update(input).finalize().into_bytes().into();
        let [.., time_high, time_low] = issued.to_be_bytes();
        [time_high, time_low, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]]
    }
}

impl fmt::Debug for NonceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NonceKey(***)")
    }
}

/// The value of a NONCE attribute (RFC 8489 §14.10). Printable ASCII, on the stack.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Nonce([u8; Self::BYTES]);

impl Nonce {
    /// The length of every nonce.
    pub const BYTES: usize = PREFIX_BYTES + TEXT_BYTES;

    /// The nonce as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Base64 is ASCII, so this never falls back.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Nonce {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Nonce").field(&self.as_str()).finish()
    }
}

/// Why a nonce is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NonceError {
    /// Not the form of our nonces.
    #[error("the nonce is not one of ours")]
    Malformed,
    /// Issued to another address or port, under another key, or too long ago to tell.
    #[error("the nonce was not issued to this client")]
    Forged,
    /// Issued to this client, but longer ago than its lifetime.
    #[error("the nonce is too old")]
    Stale,
}

fn decode(nonce: &[u8]) -> Option<[u8; TAG_BYTES]> {
    let text = nonce.get(PREFIX_BYTES..)?;
    if text.len() != TEXT_BYTES {
        return None;
    }
    let mut tag = [0; TAG_BYTES];
    // The decoder refuses bits that are left over, so each tag has one form only.
    (URL_SAFE_NO_PAD.decode_slice(text, &mut tag) == Ok(TAG_BYTES)).then_some(tag)
}

/// The latest time, at most a little ahead of now, whose last two bytes are `low`; the HMAC proves the rest.
fn issue_time(low: u16, now_unix: u64) -> Option<u64> {
    let latest = now_unix.saturating_add(SKEW_SECONDS_MAX);
    let behind = latest.wrapping_sub(u64::from(low)) & 0xffff;
    latest.checked_sub(behind)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_763_829_600;
    const HOUR: Duration = Duration::from_secs(3600);

    const BOTH: Features = Features { password_algorithms: true, username_anonymity: true };

    fn key() -> NonceKey {
        NonceKey::new(&[7; 32])
    }

    fn client(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn check(nonce: &[u8], now: u64) -> Result<(), NonceError> {
        key().check(nonce, client("192.0.2.1:5000"), now, HOUR)
    }

    #[test]
    fn a_nonce_is_short_and_begins_with_the_cookie_and_both_features() {
        let nonce = key().issue(NOW, client("192.0.2.1:5000"), BOTH);

        assert_eq!(nonce.as_ref().len(), 24);
        assert!(nonce.as_str().starts_with("obMatJos2wAAA"));
        let features = URL_SAFE_NO_PAD.decode(&nonce.as_str()[9..13]).unwrap();
        assert_eq!(features, [0b1100_0000, 0, 0]);
    }

    #[test]
    fn a_nonce_lives_as_long_as_it_should() {
        let nonce = key().issue(NOW, client("192.0.2.1:5000"), BOTH);
        let nonce = nonce.as_ref();

        assert_eq!(check(nonce, NOW), Ok(()));
        assert_eq!(check(nonce, NOW + 3600), Ok(()));
        assert_eq!(check(nonce, NOW + 3601), Err(NonceError::Stale));
        assert_eq!(check(nonce, NOW + AGE_SECONDS_MAX), Err(NonceError::Stale));
        // The time on it would be read as a later one, and then the HMAC does not match.
        assert_eq!(check(nonce, NOW + 65_536), Err(NonceError::Forged));
        assert_eq!(check(nonce, NOW + 10 * 65_536), Err(NonceError::Forged));
    }

    #[test]
    fn a_clock_that_goes_back_a_little_does_no_harm() {
        let nonce = key().issue(NOW, client("192.0.2.1:5000"), BOTH);

        assert_eq!(check(nonce.as_ref(), NOW - SKEW_SECONDS_MAX), Ok(()));
        assert_eq!(check(nonce.as_ref(), NOW - SKEW_SECONDS_MAX - 1), Err(NonceError::Forged));
        assert_eq!(check(nonce.as_ref(), 0), Err(NonceError::Forged));
    }

    #[test]
    fn a_nonce_is_good_for_one_address_port_and_key() {
        let nonce = key().issue(NOW, client("192.0.2.1:5000"), BOTH);
        let check = |key: &NonceKey, from: &str| key.check(nonce.as_ref(), client(from), NOW, HOUR);

        assert_eq!(check(&key(), "192.0.2.1:5001"), Err(NonceError::Forged));
        assert_eq!(check(&key(), "192.0.2.2:5000"), Err(NonceError::Forged));
        assert_eq!(check(&key(), "[2001:db8::1]:5000"), Err(NonceError::Forged));
        assert_eq!(check(&NonceKey::new(&[8; 32]), "192.0.2.1:5000"), Err(NonceError::Forged));
        assert_eq!(check(&key().clone(), "192.0.2.1:5000"), Ok(()));
    }

    #[test]
    fn no_character_of_a_nonce_can_be_changed() {
        let nonce = key().issue(NOW, client("192.0.2.1:5000"), BOTH);
        for index in 0..Nonce::BYTES {
            for byte in 0..=255 {
                let mut changed = nonce.0;
                changed[index] = byte;
                let expected = changed == nonce.0;
                assert_eq!(check(&changed, NOW).is_ok(), expected, "{index} {byte}");
            }
        }
    }

    #[test]
    fn anything_else_is_malformed() {
        let nonce = key().issue(NOW, client("192.0.2.1:5000"), BOTH);
        let longer = [nonce.as_ref(), b"A"].concat();
        let other_features = nonce.as_str().replace("wAAA", "4AAA");
        let all: [&[u8]; 6] =
            [b"", b"x", &nonce.as_ref()[..23], &longer, other_features.as_bytes(), &[0xff; 24]];

        for other in all {
            assert_eq!(check(other, NOW), Err(NonceError::Malformed), "{other:?}");
        }
    }

    #[test]
    fn features_can_be_read_but_not_changed() {
        for (password_algorithms, username_anonymity) in
            [(false, false), (true, false), (false, true), (true, true)]
        {
            let features = Features { password_algorithms, username_anonymity };
            let nonce = key().issue(NOW, client("192.0.2.1:5000"), features);
            assert_eq!(Features::of(nonce.as_ref()), Some(features));
            let bits = URL_SAFE_NO_PAD.decode(&nonce.as_str()[9..13]).unwrap();
            assert_eq!(bits, [u8::from(password_algorithms) << 7 | u8::from(username_anonymity) << 6, 0, 0]);
            assert_eq!(check(nonce.as_ref(), NOW), Ok(()));
            let stripped = [&nonce.as_ref()[..9], b"AAAA", &nonce.as_ref()[13..]].concat();
            assert_eq!(check(&stripped, NOW).is_ok(), features == Features::default());
        }
        assert_eq!(Features::of(b"another server's nonce"), None);
    }

    #[test]
    fn a_lifetime_longer_than_the_time_on_a_nonce_is_capped() {
        let nonce = key().issue(NOW, client("192.0.2.1:5000"), BOTH);
        let check = |age| key().check(nonce.as_ref(), client("192.0.2.1:5000"), NOW + age, Duration::MAX);

        assert_eq!(check(AGE_SECONDS_MAX), Ok(()));
        assert_eq!(check(AGE_SECONDS_MAX + 1), Err(NonceError::Forged));
    }

    #[test]
    fn the_key_does_not_show_up_in_debug_output() {
        assert_eq!(format!("{:?}", key()), "NonceKey(***)");
    }

    proptest! {
        #[test]
        fn whatever_is_issued_is_accepted_at_once(
            bytes: [u8; 32], now: u64, ip: IpAddr, port: u16, password_algorithms: bool, username_anonymity: bool,
        ) {
            let features = Features { password_algorithms, username_anonymity };
            let key = NonceKey::new(&bytes);
            let client = SocketAddr::new(ip, port);
            let nonce = key.issue(now, client, features);
            prop_assert!(nonce.as_ref().iter().all(u8::is_ascii_graphic));
            prop_assert_eq!(key.check(nonce.as_ref(), client, now, Duration::ZERO), Ok(()));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..40), now: u64) {
            prop_assert!(check(&bytes, now).is_err());
        }
    }
}
