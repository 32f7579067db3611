//! What the user part of a time-limited username says beside who the user is.

use std::{fmt, time::Duration};

use super::{Credential, KeyId, Secret, USERNAME_BYTES_MAX, time_limited_username};

/// The most characters of a label.
pub const LABEL_CHARS_MAX: usize = 64;
/// The most characters of the name of a quota class.
pub const CLASS_CHARS_MAX: usize = 32;
/// The most bytes of a user for whom claims are minted.
pub const USER_BYTES_MAX: usize = 256;

/// What stands between the claims.
const BETWEEN: char = '~';
/// The only grammar there is so far.
const GRAMMAR: &str = "1";
/// The user, the grammar's number, and five claims.
const FIELDS: usize = 7;

/// When an expired credential stops working.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Expiry {
    /// Only Allocate is refused; a live allocation may be refreshed for ever (coturn's behaviour).
    #[default]
    Allocate,
    /// Refresh is refused too.
    Refresh,
    /// The allocation ends with the credential.
    Strict,
}

impl Expiry {
    /// Its name: `allocate`, `refresh` or `strict`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allocate => "allocate",
            Self::Refresh => "refresh",
            Self::Strict => "strict",
        }
    }

    const fn letter(self) -> &'static str {
        match self {
            Self::Allocate => "a",
            Self::Refresh => "r",
            Self::Strict => "s",
        }
    }

    fn of_letter(letter: &str) -> Option<Self> {
        [Self::Allocate, Self::Refresh, Self::Strict].into_iter().find(|expiry| expiry.letter() == letter)
    }
}

/// What the user part of a time-limited username says: `<user>~1~<key id>~<issued>~<label>~<class>~<expiry>`, or
/// nothing but the user.
///
/// The password signs the whole username, so that nobody without a secret can claim anything, and every server with
/// the same secret takes such a name too, as that of a user with a long name. Fields are split off from the right: a
/// user may contain `~`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claims<'a> {
    /// Whose it is, for quotas, events and revocations. Empty if the username is a bare timestamp.
    pub user: &'a str,
    /// What its issuer calls it: 1 to [`LABEL_CHARS_MAX`] characters of `A–Z a–z 0–9 . _ : @ / + = -`.
    pub label: Option<&'a str>,
    /// The secret it was made with, by the [`KeyId`] of its maker.
    pub key_id: Option<&'a str>,
    /// When it was made, in seconds since the Unix epoch.
    pub issued: Option<u64>,
    /// Which quotas apply: 1 to [`CLASS_CHARS_MAX`] characters of `a–z 0–9 _ -`.
    pub class: Option<&'a str>,
    /// What its end means, if not what the server is configured to.
    pub expiry: Option<Expiry>,
}

impl<'a> Claims<'a> {
    /// Reads the part of a username that is not its expiry time. Whatever is not exactly of the form above is a user
    /// and nothing else.
    #[must_use]
    pub fn read(user_part: &'a str) -> Self {
        Self::parse(user_part).unwrap_or(Self::plain(user_part))
    }

    /// A user who claims nothing.
    #[must_use]
    pub const fn plain(user: &'a str) -> Self {
        Self { user, label: None, key_id: None, issued: None, class: None, expiry: None }
    }

    /// Whether nothing is said but the user.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        // Claims always name a key.
        self.key_id.is_none()
    }

    fn parse(user_part: &'a str) -> Option<Self> {
        let mut fields = [""; FIELDS];
        let mut split = user_part.rsplitn(FIELDS, BETWEEN);
        for field in fields.iter_mut().rev() {
            *field = split.next()?;
        }
        let [user, grammar, key_id, issued, label, class, expiry] = fields;
        if user.is_empty() || grammar != GRAMMAR || !KeyId::is_valid(key_id) {
            return None;
        }
        let is_optional = |field: &str, check: fn(&str) -> bool| field.is_empty() || check(field);
        if !is_optional(label, is_label) || !is_optional(class, is_class) {
            return None;
        }
        let filled = |field: &'a str| (!field.is_empty()).then_some(field);
        Some(Self {
            user,
            label: filled(label),
            key_id: Some(key_id),
            issued: Some(seconds(issued)?),
            class: filled(class),
            expiry: match filled(expiry) {
                Some(letter) => Some(Expiry::of_letter(letter)?),
                None => None,
            },
        })
    }
}

/// The user part that [`Claims::read`] reads back; without claims the user alone.
impl fmt::Display for Claims<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(key_id) = self.key_id else { return f.write_str(self.user) };
        let (issued, label, class) =
            (self.issued.unwrap_or(0), self.label.unwrap_or(""), self.class.unwrap_or(""));
        let expiry = self.expiry.map_or("", Expiry::letter);
        write!(f, "{}~{GRAMMAR}~{key_id}~{issued}~{label}~{class}~{expiry}", self.user)
    }
}

/// What a credential with claims is to say. See [`Directory::mint_claims`](super::Directory::mint_claims).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish<'a> {
    /// Whose it is: 1 to [`USER_BYTES_MAX`] bytes without control characters.
    pub user: &'a str,
    /// See [`Claims::label`].
    pub label: Option<&'a str>,
    /// See [`Claims::class`].
    pub class: Option<&'a str>,
    /// See [`Claims::expiry`].
    pub expiry: Option<Expiry>,
    /// How long it is valid, in whole seconds.
    pub ttl: Duration,
}

impl<'a> Wish<'a> {
    /// A credential for `user` that is valid for `ttl` and says no more.
    #[must_use]
    pub const fn new(user: &'a str, ttl: Duration) -> Self {
        Self { user, label: None, class: None, expiry: None, ttl }
    }

    /// Whether such a credential can be made.
    ///
    /// # Errors
    /// The first field that is not of its form, or that all together are too long for a username.
    pub fn check(&self) -> Result<(), WishError> {
        if self.user.is_empty() || self.user.len() > USER_BYTES_MAX {
            return Err(WishError::UserLength(self.user.len()));
        }
        if self.user.chars().any(char::is_control) {
            return Err(WishError::UserCharacter);
        }
        if self.label.is_some_and(|label| !is_label(label)) {
            return Err(WishError::Label);
        }
        if self.class.is_some_and(|class| !is_class(class)) {
            return Err(WishError::Class);
        }
        Ok(())
    }

    /// Makes the credential with `secret`.
    pub(super) fn mint(&self, secret: &Secret, separator: char, issued: u64) -> Option<Credential> {
        self.check().ok()?;
        let claims = Claims {
            user: self.user,
            label: self.label,
            key_id: Some(secret.id().as_str()),
            issued: Some(issued),
            class: self.class,
            expiry: self.expiry,
        };
        let expires = issued.saturating_add(self.ttl.as_secs());
        let username = time_limited_username(expires, &claims.to_string(), separator);
        if username.len() > USERNAME_BYTES_MAX {
            return None;
        }
        let password = secret.password(&username);
        Some(Credential { username, password, expires, key_id: secret.id().clone() })
    }
}

/// Why a [`Wish`] cannot be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WishError {
    /// The user is empty or too long.
    #[error("a user has 1 to 256 bytes, this one has {0}")]
    UserLength(usize),
    /// The user has a control character.
    #[error("a user has no control characters, this one has")]
    UserCharacter,
    /// The label is not one.
    #[error("a label has 1 to 64 characters of A-Z a-z 0-9 . _ : @ / + = -")]
    Label,
    /// The class is not one.
    #[error("a class has 1 to 32 characters of a-z 0-9 _ -")]
    Class,
}

/// Whether a text is a label: 1 to [`LABEL_CHARS_MAX`] characters of `A–Z a–z 0–9 . _ : @ / + = -`.
#[must_use]
pub fn is_label(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:@/+=-".contains(&byte);
    (1..=LABEL_CHARS_MAX).contains(&text.len()) && text.bytes().all(is_allowed)
}

/// Whether a text is the name of a quota class: 1 to [`CLASS_CHARS_MAX`] characters of `a–z 0–9 _ -`.
#[must_use]
pub fn is_class(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    (1..=CLASS_CHARS_MAX).contains(&text.len()) && text.bytes().all(is_allowed)
}

/// A number of digits and nothing else: `parse` alone would take a sign.
fn seconds(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_with_claims_says_all_of_them() {
        assert_eq!(
            Claims::read("bob~1~2026-11~1763829600~desk@home~gold~s"),
            Claims {
                user: "bob",
                label: Some("desk@home"),
                key_id: Some("2026-11"),
                issued: Some(1_763_829_600),
                class: Some("gold"),
                expiry: Some(Expiry::Strict),
            }
        );
    }

    #[test]
    fn label_class_and_expiry_may_be_left_out() {
        let claims = Claims::read("bob~1~k~17~~~");

        assert_eq!(claims, Claims { key_id: Some("k"), issued: Some(17), ..Claims::plain("bob") });
        assert!(!claims.is_plain());
    }

    #[test]
    fn a_user_may_contain_what_stands_between_claims() {
        assert_eq!(Claims::read("a~b~~1~k~17~~~").user, "a~b~");
        let twice = Claims::read("bob~1~k~17~~gold~a~1~k~18~~~");
        assert_eq!((twice.user, twice.class), ("bob~1~k~17~~gold~a", None));
    }

    #[test]
    fn foreign_names_stay_whole() {
        let long_label = format!("bob~1~k~17~{}~~", "l".repeat(65));
        let long_key_id = format!("bob~1~{}~17~~~", "k".repeat(65));
        for name in [
            "",
            "~",
            "bob",
            "bob~x",
            "~~~~~~",
            "~1~k~17~~~",
            "bob~2~k~17~~~",
            "bob~1~~17~~~",
            "bob~1~k k~17~~~",
            "bob~1~k~~~~",
            "bob~1~k~+17~~~",
            "bob~1~k~18446744073709551616~~~",
            "bob~1~k~17~a b~~",
            "bob~1~k~17~ä~~",
            "bob~1~k~17~~Gold~",
            "bob~1~k~17~~~x",
            "bob~1~k~17~~~as",
            "bob~1~k~17~~",
            long_label.as_str(),
            long_key_id.as_str(),
        ] {
            assert_eq!(Claims::read(name), Claims::plain(name), "{name:?}");
        }
    }

    #[test]
    fn a_wish_that_cannot_be_a_username_is_refused() {
        let wish = Wish::new("bob", Duration::from_secs(60));

        assert_eq!(wish.check(), Ok(()));
        assert_eq!(Wish { user: "", ..wish }.check(), Err(WishError::UserLength(0)));
        assert_eq!(Wish { user: &"b".repeat(257), ..wish }.check(), Err(WishError::UserLength(257)));
        assert_eq!(Wish { user: "b\n", ..wish }.check(), Err(WishError::UserCharacter));
        assert_eq!(Wish { label: Some(""), ..wish }.check(), Err(WishError::Label));
        assert_eq!(Wish { label: Some("a~b"), ..wish }.check(), Err(WishError::Label));
        assert_eq!(Wish { class: Some("Gold"), ..wish }.check(), Err(WishError::Class));
        assert_eq!(Wish { class: Some(&"g".repeat(33)), ..wish }.check(), Err(WishError::Class));
    }

    #[test]
    fn the_longest_wish_is_a_username() {
        let (user, label, class) = ("u".repeat(256), "l".repeat(64), "c".repeat(32));
        let secret = Secret::new(KeyId::new(&"k".repeat(64)).unwrap(), b"north");
        let wish = Wish {
            label: Some(&label),
            class: Some(&class),
            expiry: Some(Expiry::Refresh),
            ..Wish::new(&user, Duration::MAX)
        };

        let credential = wish.mint(&secret, ':', u64::MAX).unwrap();

        assert!(credential.username.len() <= USERNAME_BYTES_MAX, "{}", credential.username.len());
    }

    fn expiry() -> impl Strategy<Value = Option<Expiry>> {
        proptest::option::of(prop_oneof![Just(Expiry::Allocate), Just(Expiry::Refresh), Just(Expiry::Strict)])
    }

    proptest! {
        #[test]
        fn what_is_minted_is_read_back(
            user in "[^\\p{Cc}]{1,60}",
            label in proptest::option::of("[A-Za-z0-9._:@/+=-]{1,64}"),
            class in proptest::option::of("[a-z0-9_-]{1,32}"),
            key_id in "[A-Za-z0-9._-]{1,64}",
            expiry in expiry(),
            issued in 0..u64::from(u32::MAX),
            ttl in 0..u64::from(u32::MAX),
            separator in prop_oneof![Just(':'), Just('|'), Just('→')],
        ) {
            let secret = Secret::new(KeyId::new(&key_id).unwrap(), b"north");
            let ttl = Duration::from_secs(ttl);
            let wish = Wish { user: &user, label: label.as_deref(), class: class.as_deref(), expiry, ttl };

            let credential = wish.mint(&secret, separator, issued).unwrap();

            let name = super::super::parse_time_limited(&credential.username, separator).unwrap();
            prop_assert_eq!(name.expires, issued + ttl.as_secs());
            prop_assert_eq!(name.expires, credential.expires);
            let expected = Claims {
                user: &user,
                label: label.as_deref(),
                key_id: Some(&key_id),
                issued: Some(issued),
                class: class.as_deref(),
                expiry,
            };
            prop_assert_eq!(Claims::read(name.user), expected);
        }

        #[test]
        fn any_text_is_read_without_a_panic_and_written_alike(text in "(.{0,12}~?){0,9}") {
            let claims = Claims::read(&text);
            prop_assert!(text.starts_with(claims.user));
            if claims.is_plain() {
                prop_assert_eq!(claims.user, text.as_str());
            }
        }

        #[test]
        fn texts_that_are_nearly_claims_are_read_as_what_they_say(
            text in "[a1~]{0,3}~[12]?~[k ~]{0,2}~[0-9x]{0,3}~[l~]{0,2}~[cC]{0,2}~[arsx]{0,2}",
        ) {
            let claims = Claims::read(&text);
            if !claims.is_plain() {
                // Leading zeros of the time of issue are the only thing that is written otherwise.
                let again = claims.to_string();
                prop_assert_eq!(Claims::read(&again), claims);
            }
        }
    }
}
