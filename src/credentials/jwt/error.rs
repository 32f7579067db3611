use thiserror::Error;

/// Why a token is refused. Messages name nothing that a token keeps secret: no signature, no claim of a token that is
/// not proved.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It is no signed token at all.
    #[error("{0}")]
    Malformed(&'static str),
    /// Its `alg` is `none`, unknown, or not among those that are taken.
    #[error("the algorithm {0} is not taken here; sign with one of those that are configured")]
    AlgorithmRefused(Box<str>),
    /// No key fits: none has its `kid`, or that one is for another algorithm.
    #[error("no key fits the token: {0}")]
    KeyUnknown(&'static str),
    /// The signature is not that of the key.
    #[error("the signature is wrong")]
    SignatureWrong,
    /// A claim is missing or has the wrong type.
    #[error("the claim `{claim}` {fault}")]
    Claim {
        /// Its name.
        claim: &'static str,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// `exp` is in the past by more than the leeway.
    #[error("it expired {seconds} s ago; get a new one")]
    Expired {
        /// How long ago.
        seconds: u64,
    },
    /// `nbf` or `iat` is in the future by more than the leeway.
    #[error(
        "it is valid in {seconds} s only; the clocks of its issuer and of this server differ, or it is used too early"
    )]
    NotYetValid {
        /// How long until then.
        seconds: u64,
    },
    /// It is valid for longer than is allowed.
    #[error("it is valid for {seconds} s, longer than the {max} s that are taken")]
    LifetimeTooLong {
        /// From `iat` to `exp`.
        seconds: u64,
        /// What is allowed.
        max: u64,
    },
    /// `iss` is another than the configured one.
    #[error("its `iss` is not the configured issuer; both must be the same to the letter")]
    IssuerWrong,
    /// `aud` does not name this server.
    #[error("its `aud` does not name this server")]
    AudienceWrong,
}

/// Why a set of keys cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeySetError {
    /// It is neither a JWK, nor a JWK set, nor PEM.
    #[error("is neither a JWK set nor PEM: {0}")]
    Malformed(Box<str>),
    /// It holds more keys than are taken.
    #[error("holds {count} keys; at most {max} are taken")]
    TooMany {
        /// How many.
        count: usize,
        /// The most.
        max: usize,
    },
    /// It holds a private or shared key, which has no place here.
    #[error(
        "holds a private or shared key; publish public keys only, and replace this one: it is no secret any more"
    )]
    Private,
    /// None of its keys can be used.
    #[error(
        "holds no key that can be used; Ed25519, P-256 and RSA keys of 2048 to 8192 bits can, unless they say `use: enc`"
    )]
    Empty,
    /// The shared secret is too short to be one.
    #[error("has {bytes} bytes; a secret for HS256 needs at least 32 (RFC 7518 §3.2)")]
    SecretTooShort {
        /// How many.
        bytes: usize,
    },
}
