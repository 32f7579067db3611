//! Texts as tokens, and as sets of keys.

use super::cases;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use iceway::credentials::{
    jwt::{Algorithm, KeySet, Token},
    webhook::{WebhookSecret, sign, verify},
};
use proptest::{collection::vec, prelude::*, sample::Index};

const HEADERS: [&str; 6] = [
    r#"{"alg":"EdDSA","typ":"JWT","kid":"k"}"#,
    r#"{"alg":"none"}"#,
    r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
    r#"{"alg":"ES256","kid":"k","jwk":{"kty":"EC"}}"#,
    r#"{"alg":"RS256","x5u":"https://evil.example"}"#,
    "[]",
];
const CLAIMS: &str = r#"{"iss":"i","aud":["a","b"],"sub":"u","exp":1790000900,"iat":1790000000,"jti":"j","rtc":{"rooms":{"r-*":["join"]},"call":{"mode":"any"}}}"#;
const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","use":"sig","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},{"kty":"RSA","n":"AQAB","e":"AQAB","alg":"RS256"},{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}"#;

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn any_text_as_a_token_is_parsed_or_refused(text in "[A-Za-z0-9_.=-]{0,300}|\\PC{0,100}") {
        drop(Token::parse(&text, &[Algorithm::EdDsa, Algorithm::Es256]));
    }

    #[test]
    fn a_mangled_token_is_never_taken(
        header in 0..HEADERS.len(), changes in vec((any::<Index>(), any::<u8>()), 0..4), cut in any::<Index>(),
    ) {
        let keys = KeySet::parse(KEYS).unwrap();
        let mut claims = CLAIMS.as_bytes().to_vec();
        for (at, value) in changes {
            let at = at.index(claims.len());
            claims[at] ^= value;
        }
        let text = format!(
            "{}.{}.{}", URL_SAFE_NO_PAD.encode(HEADERS[header]), URL_SAFE_NO_PAD.encode(&claims), "A".repeat(86),
        );
        for text in [text.as_str(), &text[..cut.index(text.len())]] {
            if let Ok(token) = Token::parse(text, &[Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256]) {
                let candidates = keys.candidates(token.algorithm(), token.key_id()).unwrap_or_default();
                prop_assert!(token.verify(candidates).is_err());
            }
        }
    }

    #[test]
    fn mangled_sets_of_keys_are_read_or_refused(changes in vec((any::<Index>(), "\\PC{0,3}"), 1..5)) {
        let mut text = KEYS.to_owned();
        for (at, piece) in changes {
            let at = at.index(text.len());
            if text.is_char_boundary(at) {
                text.insert_str(at, &piece);
            }
        }
        drop(KeySet::parse(&text));
    }

    #[test]
    fn a_changed_webhook_is_never_taken(
        id in "[a-z0-9_]{1,20}", body in vec(any::<u8>(), 0..100), at in any::<Index>(), bit in 0..8_u8, junk in "\\PC{0,80}",
        secret in "\\PC{0,80}",
    ) {
        let (secrets, now) = ([WebhookSecret::parse("a-secret-of-webhooks-for-tests").unwrap()], 1_790_000_000);
        let good = sign(secrets[0].as_bytes(), &id, now, &body);
        let all = format!("{junk} {good}");
        prop_assert!(verify(&secrets, (&id, now, &all), &body, now).is_ok());
        let mut changed = body.clone();
        if let Some(byte) = (!body.is_empty()).then(|| at.index(body.len())) {
            changed[byte] ^= 1 << bit;
            prop_assert!(verify(&secrets, (&id, now, &good), &changed, now).is_err());
        }
        prop_assert!(verify(&secrets, (&id, now + 1, &good), &body, now).is_err());
        prop_assert!(verify(&secrets, (&id, now, &junk), &body, now).is_err());
        drop(WebhookSecret::parse(&secret));
    }
}
