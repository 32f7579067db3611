//! Keys of `jwt`.

use super::{ANY, Key, duration, text};

pub(super) const KEYS: &[Key] = &[
    Key {
        path: "jwt.issuer",
        rule: text(1, 1024),
        brief: "Who makes the tokens that callers may bring (iss)",
        about: "Compared to the letter, such as \"https://auth.example.org/realms/messenger\". Without it no tokens are \
                taken. Needs jwt.audience, and jwt.jwks_url, jwt.keys_file or jwt.hs256_secret_file.",
        secret: false,
        reloads: true,
        field: |config| &mut config.jwt.issuer,
    },
    Key {
        path: "jwt.audience",
        rule: ANY,
        brief: "Whom tokens must be made for (aud): one of these",
        about: "Keeps tokens for other services of the same issuer from being used here.",
        secret: false,
        reloads: true,
        field: |config| &mut config.jwt.audience,
    },
    Key {
        path: "jwt.jwks_url",
        rule: text(1, 2048),
        brief: "Where the issuer publishes its keys (JWKS)",
        about: "Over HTTPS; plain HTTP only to this machine. Kept for at most an hour or what Cache-Control says, renewed \
                ahead of that, and used for up to 24 hours more while the issuer cannot be reached.",
        secret: false,
        reloads: true,
        field: |config| &mut config.jwt.jwks_url,
    },
    Key {
        path: "jwt.jwks_ca_file",
        rule: ANY,
        brief: "PEM file with the authorities of the server of jwt.jwks_url",
        about: "Instead of those of the system, for a private authority.",
        secret: false,
        reloads: true,
        field: |config| &mut config.jwt.jwks_ca_file,
    },
    Key {
        path: "jwt.keys_file",
        rule: ANY,
        brief: "File with public keys of the issuer: a JWK set or PEM",
        about: "Several keys are valid at once, so that they can be rotated. Beside jwt.jwks_url or instead of it.",
        secret: false,
        reloads: true,
        field: |config| &mut config.jwt.keys_file,
    },
    Key {
        path: "jwt.hs256_secret_file",
        rule: ANY,
        brief: "File with a secret shared with the issuer, for HS256",
        about: "At least 32 bytes, on the first line; a second line is valid too, for rotation. Whoever knows it can make \
                tokens: prefer public keys. Without it HS256 is refused.",
        secret: false,
        reloads: true,
        field: |config| &mut config.jwt.hs256_secret_file,
    },
    Key {
        path: "jwt.algorithms",
        rule: ANY,
        brief: "What tokens may be signed with",
        about: "Of EdDSA, ES256, RS256 and PS256. HS256 is taken when there is jwt.hs256_secret_file.",
        secret: false,
        reloads: true,
        field: |config| &mut config.jwt.algorithms,
    },
    Key {
        path: "jwt.leeway",
        rule: duration(0, 300),
        brief: "By how much the issuer's clock and ours may differ",
        about: "Tokens are taken so much before nbf and after exp.",
        secret: false,
        reloads: true,
        field: |config| &mut config.jwt.leeway,
    },
    Key {
        path: "jwt.lifetime_max",
        rule: duration(60, 604_800),
        brief: "Longest time a token may be valid",
        about: "From iat to exp. What cannot be taken back should not live long.",
        secret: false,
        reloads: true,
        field: |config| &mut config.jwt.lifetime_max,
    },
    Key {
        path: "jwt.scopes",
        rule: ANY,
        brief: "What the scopes of tokens stand for",
        about: "Each is THEIRS=OURS with one of issue, revoke, read, signal and admin, such as \"SCOPE_turn=issue\". Read from the \
                claims scope and scp.",
        secret: false,
        reloads: true,
        field: |config| &mut config.jwt.scopes,
    },
    Key {
        path: "jwt.grants_claim",
        rule: text(1, 128),
        brief: "Claim with what the token grants its subject",
        about: "An object with {\"turn\": {\"use\": true, \"ttl\": 3600, \"relayOnly\": false, \"quota\": \"std\"}}: end users \
                with such a token can have credentials for themselves.",
        secret: false,
        reloads: true,
        field: |config| &mut config.jwt.grants_claim,
    },
];
