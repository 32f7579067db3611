/// How a token is signed (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Ed25519.
    EdDsa,
    /// ECDSA over P-256 with SHA-256.
    Es256,
    /// RSA PKCS#1 v1.5 with SHA-256, 2048 to 8192 bits.
    Rs256,
    /// RSA PSS with SHA-256, 2048 to 8192 bits.
    Ps256,
    /// HMAC with SHA-256 under a shared secret.
    Hs256,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 5] = [Self::EdDsa, Self::Es256, Self::Rs256, Self::Ps256, Self::Hs256];

    /// Those that need no shared secret.
    pub const PUBLIC: [Self; 4] = [Self::EdDsa, Self::Es256, Self::Rs256, Self::Ps256];

    /// The value of `alg`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Hs256 => "HS256",
        }
    }

    /// The algorithm of this name; names are compared as they are written. RFC 9864's `Ed25519` is `EdDSA`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        if name == "Ed25519" {
            return Some(Self::EdDsa);
        }
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }
}
