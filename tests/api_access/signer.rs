//! Tokens made by an independent implementation: Node's `crypto`.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

/// Shared with the issuer, for HS256.
pub(crate) const SHARED: &str = "0123456789abcdef0123456789abcdef";

const SCRIPT: &str = r#"
const crypto = require('node:crypto');
const { cases, shared } = JSON.parse(require('node:fs').readFileSync(0));
const pairs = {
  EdDSA: crypto.generateKeyPairSync('ed25519'),
  ES256: crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  RS256: crypto.generateKeyPairSync('rsa', { modulusLength: 2048 }),
  PS256: crypto.generateKeyPairSync('rsa', { modulusLength: 2048 }),
};
const base64 = (data) => Buffer.from(data).toString('base64url');
const signers = {
  EdDSA: (data, key) => crypto.sign(null, data, key),
  ES256: (data, key) => crypto.sign('sha256', data, { key, dsaEncoding: 'ieee-p1363' }),
  RS256: (data, key) => crypto.sign('sha256', data, key),
  PS256: (data, key) => crypto.sign('sha256', data,
    { key, padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }),
};
const sign = ({ signer, header, claims, secret }) => {
  const text = `${base64(JSON.stringify(header))}.${base64(JSON.stringify(claims))}`;
  if (signer === 'none') return `${text}.`;
  const data = Buffer.from(text);
  if (signer === 'HS256') {
    const key = secret === 'public' ? pairs.RS256.publicKey.export({ type: 'spki', format: 'pem' }) : shared;
    return `${text}.${crypto.createHmac('sha256', key).update(data).digest('base64url')}`;
  }
  return `${text}.${base64(signers[signer](data, pairs[signer].privateKey))}`;
};
const keys = Object.entries(pairs).map(([alg, pair]) =>
  ({ ...pair.publicKey.export({ format: 'jwk' }), kid: alg.toLowerCase(), use: 'sig' }));
const pem = Object.values(pairs).map((pair) => pair.publicKey.export({ type: 'spki', format: 'pem' })).join('');
console.log(JSON.stringify({ jwks: { keys }, pem, tokens: cases.map(sign) }));
"#;

/// A token to be made.
#[derive(Clone)]
pub(crate) struct Token {
    signer: &'static str,
    header: Value,
    claims: Value,
    secret: &'static str,
}

/// Keys, and tokens in the order of what was asked for.
pub(crate) struct Signed {
    pub(crate) jwks: String,
    pub(crate) pem: String,
    pub(crate) tokens: Vec<String>,
}

pub(crate) fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

impl Token {
    /// A good one that may read.
    pub(crate) fn good(algorithm: &'static str) -> Self {
        let mut header = json!({"alg": algorithm, "typ": "JWT"});
        if algorithm != "HS256" {
            header["kid"] = json!(algorithm.to_lowercase());
        }
        Self {
            signer: algorithm,
            header,
            claims: json!({
                "iss": "https://auth.example/realms/m", "aud": ["account", "turn"], "sub": "u-123", "iat": now(),
                "exp": now() + 3600, "scope": "openid turn.read",
            }),
            secret: "shared",
        }
    }

    pub(crate) fn header(mut self, name: &str, value: Value) -> Self {
        self.header[name] = value;
        self
    }

    pub(crate) fn claim(mut self, name: &str, value: Value) -> Self {
        self.claims[name] = value;
        self
    }

    pub(crate) fn signed_by(mut self, signer: &'static str) -> Self {
        self.signer = signer;
        self
    }

    pub(crate) fn with_the_public_key_as_secret(mut self) -> Self {
        self.secret = "public";
        self.signed_by("HS256")
    }
}

/// Has them made.
pub(crate) fn sign(tokens: &[Token]) -> Signed {
    let cases: Vec<Value> = tokens
        .iter()
        .map(|token| {
            json!({"signer": token.signer, "header": token.header, "claims": token.claims, "secret": token.secret})
        })
        .collect();
    let mut child = Command::new("node")
        .args(["-e", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Node is installed");
    let input = json!({"cases": cases, "shared": SHARED}).to_string();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let output: Value = serde_json::from_slice(&output.stdout).unwrap();
    Signed {
        jwks: output["jwks"].to_string(),
        pem: output["pem"].as_str().unwrap().to_owned(),
        tokens: output["tokens"].as_array().unwrap().iter().map(|t| t.as_str().unwrap().to_owned()).collect(),
    }
}
