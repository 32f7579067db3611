//! Nothing secret is said by whatever goes wrong.

use serde_json::json;

use crate::{
    http::Request,
    server::{Directory, Server, key_text},
    signer::{SHARED, Token, now, sign},
};

#[test]
fn a_run_full_of_failures_says_no_secret_anywhere() {
    let signed = sign(&[
        Token::good("ES256"),
        Token::good("ES256").claim("exp", json!(now() - 100)).claim("iat", json!(now() - 200)),
        Token::good("HS256").claim("aud", json!("other")),
        Token::good("RS256").header("alg", json!("none")).signed_by("none"),
        Token::good("PS256").header("kid", json!("nobody")),
    ]);
    let directory = Directory::new();
    let keys = directory.write("keys", &signed.jwks);
    let secret = directory.write("shared", SHARED);
    let config = format!(
        "[jwt]\nissuer = \"https://auth.example/realms/m\"\naudience = [\"turn\"]\nkeys_file = {keys}\n\
         hs256_secret_file = {secret}\n[api]\nauthentication_failures = 0\n"
    );
    let server = Server::start_in(
        directory,
        &["reader01 read", "issuer01 issue", "faraway1 read 192.0.2.0/24"],
        &config,
    );
    let right = ["reader01", "issuer01", "faraway1"].map(key_text);
    let wrong = key_text("nobody01");
    let mut said = String::new();
    let mut say = |request: Request| said.push_str(&format!("{:?}\n", server.send(&request)));
    for key in right.iter().chain([&wrong]) {
        say(Request::get("/v1/nodes").bearer(key));
        say(Request::get("/v1/nodes").bearer(&format!("{key}x")));
        say(Request::get("/v1/nodes").bearer(&key[..key.len() - 1]));
        say(Request::get("/v1/nodes").header("X-Api-Key", key).bearer(&wrong));
        say(Request::get(&format!("/turn?service=turn&username=a&key={key}")));
        say(Request::post("/v1/turn/credentials", &format!("{{\"user\":\"a\",\"key\":\"{key}\"}}"))
            .bearer(key));
    }
    for token in &signed.tokens {
        say(Request::get("/v1/nodes").bearer(token));
        say(Request::get("/v1/nodes").bearer(&format!("{token}AAAA")));
        say(Request::get("/v1/nodes").bearer(&token[1..]));
        say(Request::get("/metrics").header("X-Forwarded-For", "1.1.1.1").bearer(token));
    }
    say(Request::get("/metrics"));
    said.push_str(&server.log());
    assert!(said.contains("An API caller was refused."), "failures are logged");

    let halves = |text: &str| text.get(text.len() / 2..).unwrap().to_owned();
    let mut secrets: Vec<String> = right.iter().chain([&wrong]).map(|key| halves(key)).collect();
    for token in &signed.tokens {
        secrets.extend(token.split('.').skip(1).filter(|part| part.len() > 20).map(halves));
    }
    secrets.push(SHARED.to_owned());
    secrets.push("a secret of many characters".to_owned());
    for secret in secrets {
        assert!(!said.contains(&secret), "{secret} was said");
    }
}
