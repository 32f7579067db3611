//! Tokens of an issuer.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    certificates::{Authority, serve_once_per_connection},
    http::Request,
    server::{Directory, Server, key_text, metric},
    signer::{SHARED, Signed, Token, now, sign},
};

const JWT: &str = "[jwt]\nissuer = \"https://auth.example/realms/m\"\naudience = [\"turn\"]\n";

/// A server that knows the signer's keys by file.
fn start(signed: &Signed) -> Server {
    let directory = Directory::new();
    let keys = directory.write("keys", &signed.jwks);
    let secret = directory.write("shared", SHARED);
    let api = "[api]\nauthentication_failures = 0\n";
    let config = format!("{JWT}keys_file = {keys}\nhs256_secret_file = {secret}\n{api}");
    Server::start_in(directory, &["reader01 read"], &config)
}

#[test]
fn tokens_of_every_algorithm_are_taken() {
    let algorithms = ["EdDSA", "ES256", "RS256", "PS256", "HS256"];
    let signed = sign(&algorithms.map(Token::good));
    let server = start(&signed);
    for (token, algorithm) in signed.tokens.iter().zip(algorithms) {
        for _ in 0..2 {
            assert_eq!(server.get("/v1/nodes", token).status, 200, "{algorithm}");
        }
    }
    // The same keys in PEM, which names none of them.
    server.directory.write("keys", &signed.pem);
    server.reload();
    for (token, algorithm) in signed.tokens.iter().zip(algorithms) {
        let answer = server.get("/v1/nodes", token);
        assert_eq!(answer.status, 200, "{algorithm}: {answer:?}");
    }
}

#[test]
fn each_way_for_a_token_to_be_wrong_has_its_own_code() {
    let good = || Token::good("ES256");
    let cases: Vec<(Token, u16, &str, &str)> = vec![
        (
            good().claim("exp", json!(now() - 100)).claim("iat", json!(now() - 200)),
            401,
            "token_expired",
            "10",
        ),
        (good().claim("nbf", json!(now() + 3000)), 401, "token_not_yet_valid", " s only"),
        (good().claim("iat", json!(now() + 3000)), 401, "token_not_yet_valid", "clocks"),
        (good().claim("exp", json!(now() + 90_000)), 401, "token_invalid", "longer than the 86400 s"),
        (good().claim("exp", Value::Null), 401, "token_invalid", "`exp` is missing"),
        (good().claim("aud", json!("account")), 401, "audience_wrong", "`aud`"),
        (good().claim("aud", Value::Null), 401, "token_invalid", "`aud` is missing"),
        (good().claim("iss", json!("https://auth.example/realms/m/")), 401, "issuer_wrong", "`iss`"),
        (good().header("alg", json!("none")).signed_by("none"), 401, "algorithm_refused", "`none`"),
        (good().header("alg", json!("HS512")), 401, "algorithm_refused", "`HS512`"),
        (good().header("kid", json!("ps256")), 401, "token_key_unknown", "another algorithm"),
        (good().header("kid", json!("other")), 401, "token_key_unknown", "`kid`"),
        (
            good().header("alg", json!("EdDSA")).header("kid", json!("eddsa")),
            401,
            "token_invalid",
            "signature",
        ),
        (good().header("crit", json!(["x"])), 401, "token_invalid", "`crit`"),
        (
            Token::good("RS256").header("alg", json!("HS256")).with_the_public_key_as_secret(),
            401,
            "token_key_unknown",
            "another algorithm",
        ),
        (good().claim("scope", json!("openid")), 403, "scope_missing", "`read`"),
        (good().claim("rtc", json!({"turn": {"use": "yes"}})), 401, "token_invalid", "grants"),
    ];
    let tokens: Vec<Token> = cases.iter().map(|(token, ..)| token.clone()).collect();
    let signed = sign(&tokens);
    let server = start(&signed);
    for (text, (_, status, code, says)) in signed.tokens.iter().zip(&cases) {
        let answer = server.get("/v1/nodes", text);
        assert_eq!((answer.status, answer.code().as_str()), (*status, *code), "{answer:?}");
        assert!(answer.body.contains(says), "{says} in {answer:?}");
    }
    for text in ["a.b.c", "eyJ.eyJ.", "a.b", "a.b.c.d.e"] {
        let answer = server.get("/v1/nodes", text);
        assert!(["token_invalid", "key_unknown"].contains(&answer.code().as_str()), "{answer:?}");
    }
}

#[test]
fn an_end_user_has_credentials_for_itself_alone() {
    let grant = json!({"turn": {"use": true, "ttl": 600}});
    let signed = sign(&[
        Token::good("EdDSA").claim("rtc", grant).claim("scope", json!("openid")),
        Token::good("EdDSA").claim("rtc", json!({"turn": {"use": false}})),
        Token::good("EdDSA").claim("scope", json!("openid")),
    ]);
    let server = start(&signed);
    let granted = server.get("/v1/ice-servers", &signed.tokens[0]);
    assert_eq!(granted.status, 200, "{granted:?}");
    assert!(granted.body.contains(":u-123"), "{granted:?}");
    for text in &signed.tokens[1..] {
        assert_eq!(server.get("/v1/ice-servers", text).code(), "grant_missing");
    }
    assert_eq!(server.get("/v1/ice-servers", &key_text("reader01")).code(), "grant_missing");
}

#[test]
fn the_keys_of_the_issuer_are_fetched_over_https() {
    let signed = sign(&[Token::good("PS256")]);
    let authority = Authority::new();
    let body = signed.jwks.clone();
    let answer =
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let issuer = serve_once_per_connection(Arc::new(authority.server_config()), answer);
    let directory = Directory::new();
    let ca = directory.write("ca.pem", &authority.pem());
    let config =
        format!("{JWT}jwks_url = \"https://localhost:{}/jwks\"\njwks_ca_file = {ca}\n", issuer.port());
    let server = Server::start_in(directory, &["reader01 read"], &config);
    for _ in 0..3 {
        assert_eq!(server.get("/v1/nodes", &signed.tokens[0]).status, 200);
    }
    assert_eq!(metric(&server, "iceway_jwks_refreshes_total{result=\"success\"}"), 1);
}

#[test]
fn an_issuer_that_does_not_answer_is_no_fault_of_the_caller() {
    let signed = sign(&[Token::good("ES256")]);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = format!("{JWT}jwks_url = \"http://{nobody}/jwks\"\n");
    let server = Server::start(&["reader01 read"], &config);
    let answer = server.send(&Request::get("/v1/nodes").bearer(&signed.tokens[0]));
    assert_eq!((answer.status, answer.code().as_str()), (503, "token_keys_unavailable"));
    assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert_eq!(server.get("/v1/nodes", &key_text("reader01")).status, 200);
}
