//! The vectors of RFC 7515 and RFC 8037, and what must not pass.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::*;
use crate::credentials::jwt::{KeySet, KeySetError};

/// RFC 7515 A.1 to A.3: the payload they share.
const PAYLOAD: &str =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

const SHARED: &str = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";

const RSA: &str = r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#;

const P256: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;

const ED25519: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

fn payload(token: &str, keys: &KeySet) -> Result<String, TokenError> {
    let token = Token::parse(token, &Algorithm::ALL)?;
    let candidates = keys.candidates(token.algorithm(), token.key_id())?;
    Ok(String::from_utf8(token.verify(candidates)?).unwrap())
}

fn shared() -> KeySet {
    let mut keys = KeySet::default();
    keys.push(VerifyingKey::shared(&URL_SAFE_NO_PAD.decode(SHARED).unwrap()).unwrap());
    keys
}

/// Each vector with its key.
fn vectors() -> [(String, KeySet, &'static str); 4] {
    let joe = "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";
    [
        // RFC 7515 A.1.
        (
            format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{PAYLOAD}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            shared(),
            joe,
        ),
        // RFC 7515 A.2.
        (
            format!(
                "eyJhbGciOiJSUzI1NiJ9.{PAYLOAD}.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
            ),
            KeySet::parse(RSA).unwrap(),
            joe,
        ),
        // RFC 7515 A.3.
        (
            format!(
                "eyJhbGciOiJFUzI1NiJ9.{PAYLOAD}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
            ),
            KeySet::parse(P256).unwrap(),
            joe,
        ),
        // RFC 8037 A.4.
        (
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg".to_owned(),
            KeySet::parse(ED25519).unwrap(),
            "Example of Ed25519 signing",
        ),
    ]
}

#[test]
fn the_vectors_of_the_rfcs_are_verified() {
    for (token, keys, expected) in vectors() {
        assert_eq!(payload(&token, &keys).as_deref(), Ok(expected));
    }
}

#[test]
fn no_changed_bit_passes() {
    for (token, keys, _) in vectors() {
        for index in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(payload(&changed, &keys).is_err(), "byte {index} of {token}");
        }
    }
}

#[test]
fn cut_tokens_and_nonsense_are_malformed() {
    for (token, keys, _) in vectors() {
        for end in 0..token.len() {
            assert!(payload(&token[..end], &keys).is_err());
        }
    }
    for text in ["", ".", "..", "...", "a.b.c", "é.é.é", "e30.e30.", "bnVsbA.e30."] {
        assert!(matches!(payload(text, &shared()), Err(TokenError::Malformed(_))), "{text}");
    }
    let long = "a".repeat(TOKEN_BYTES_MAX + 1);
    assert!(matches!(payload(&long, &shared()), Err(TokenError::Malformed(_))));
}

fn with_header(header: &str) -> Result<String, TokenError> {
    let signature = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    payload(&format!("{}.{PAYLOAD}.{signature}", URL_SAFE_NO_PAD.encode(header)), &shared())
}

#[test]
fn no_algorithm_but_the_allowed_ones_is_taken() {
    for name in ["none", "None", "NONE", "nOnE", "HS384", "hs256", "ES256K", "", "RS1"] {
        let refused = with_header(&format!("{{\"alg\":\"{name}\"}}"));
        assert!(matches!(refused, Err(TokenError::AlgorithmRefused(_))), "{name}: {refused:?}");
    }
    let unsigned = format!("{}.{PAYLOAD}.", URL_SAFE_NO_PAD.encode("{\"alg\":\"none\"}"));
    assert_eq!(payload(&unsigned, &shared()), Err(TokenError::AlgorithmRefused("`none`".into())));
    let (token, ..) = &vectors()[0];
    assert!(matches!(
        Token::parse(token, &Algorithm::PUBLIC),
        Err(TokenError::AlgorithmRefused(name)) if &*name == "`HS256`"
    ));
}

#[test]
fn a_public_key_is_never_taken_for_a_shared_secret() {
    // The classical attack: an HMAC under the text of the public key.
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, RSA.as_bytes());
    let signed = format!("{}.{PAYLOAD}", URL_SAFE_NO_PAD.encode("{\"alg\":\"HS256\"}"));
    let signature = URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, signed.as_bytes()));
    let keys = KeySet::parse(RSA).unwrap();
    assert!(matches!(payload(&format!("{signed}.{signature}"), &keys), Err(TokenError::KeyUnknown(_))));
}

#[test]
fn headers_that_are_not_understood_are_refused() {
    for header in [
        r#"{"alg":"HS256","crit":["exp"]}"#,
        r#"{"alg":"HS256","typ":"logout+jwt"}"#,
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"typ":"JWT"}"#,
    ] {
        assert!(matches!(with_header(header), Err(TokenError::Malformed(_))), "{header}");
    }
}

#[test]
fn a_key_says_what_it_is_for() {
    let ps256 = RSA.replace("{", r#"{"alg":"PS256","#);
    let (token, ..) = &vectors()[1];
    assert!(matches!(payload(token, &KeySet::parse(&ps256).unwrap()), Err(TokenError::KeyUnknown(_))));
    let enc = RSA.replace("{", r#"{"use":"enc","#);
    assert_eq!(KeySet::parse(&enc).unwrap_err(), KeySetError::Empty);
    let wrap = RSA.replace("{", r#"{"key_ops":["wrapKey"],"#);
    assert_eq!(KeySet::parse(&wrap).unwrap_err(), KeySetError::Empty);
    let small = r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#;
    assert_eq!(KeySet::parse(small).unwrap_err(), KeySetError::Empty);
    let private = ED25519.replace("{", r#"{"d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","#);
    assert_eq!(KeySet::parse(&private).unwrap_err(), KeySetError::Private);
    let shared = format!(r#"{{"kty":"oct","k":"{SHARED}"}}"#);
    assert_eq!(KeySet::parse(&shared).unwrap_err(), KeySetError::Private);
    assert!(matches!(VerifyingKey::shared(b"short"), Err(KeySetError::SecretTooShort { bytes: 5 })));
}

#[test]
fn keys_are_found_by_their_name() {
    let named = |name: &str| P256.replace("{", &format!(r#"{{"kid":"{name}","#));
    let keys = KeySet::parse(&format!(r#"{{"keys":[{},{}]}}"#, named("a"), named("b"))).unwrap();
    assert_eq!(keys.len(), 2);
    let found = |id| keys.candidates(Algorithm::Es256, id).map(|keys| keys.len());
    assert_eq!(found(Some("a")), Ok(1));
    assert_eq!(found(None), Ok(2));
    assert!(matches!(found(Some("c")), Err(TokenError::KeyUnknown(_))));
    assert!(matches!(keys.candidates(Algorithm::Rs256, Some("a")), Err(TokenError::KeyUnknown(_))));
    let many: Vec<_> = (0..65).map(|number| named(&number.to_string())).collect();
    let many = format!(r#"{{"keys":[{}]}}"#, many.join(","));
    assert!(matches!(KeySet::parse(&many), Err(KeySetError::TooMany { count: 65, max: 64 })));
}

#[test]
fn no_text_makes_a_set_of_keys_panic() {
    for text in [
        "",
        "{",
        "{}",
        "[]",
        "{\"keys\":{}}",
        "-----BEGIN PUBLIC KEY-----",
        "-----BEGIN PUBLIC KEY-----!-----END PUBLIC KEY-----",
    ] {
        assert!(KeySet::parse(text).is_err(), "{text}");
    }
    assert_eq!(KeySet::parse("{\"keys\":[]}").unwrap_err(), KeySetError::Empty);
}
