//! The HTTP listener, and who may call the API.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;

use super::SecretBytes;
use crate::credentials::jwt::Algorithm;

/// The HTTP listener: the API, metrics and health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// `None` has no HTTP listener. Default 127.0.0.1:9641.
    pub listen: Option<SocketAddr>,
    /// Where the same is answered to whoever may open a file.
    pub control_socket: ControlSocket,
    /// Threads that answer. Default 1.
    pub threads: usize,
    /// Connections at once; more wait. Default 1024.
    pub connections_max: usize,
    /// Whether requests in clear text are refused.
    pub require_https: RequireHttps,
    /// A PEM file with the authorities of client certificates. `None` (the default) asks for none.
    pub client_ca_file: Option<PathBuf>,
    /// Proxies whose `X-Forwarded-For` and `Forwarded` are believed. Default: none.
    pub trusted_proxies: Vec<IpNet>,
    /// Who may read `/metrics` without a key. Default: loopback and private networks.
    pub metrics_from: Vec<IpNet>,
    /// Origins of pages that may call the API. Default: none.
    pub cors_origins: Vec<WebOrigin>,
}

/// Where commands of this machine reach the server; `None` (the default): nowhere, unless the environment names a
/// directory for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlSocket(pub Option<PathBuf>);

/// Whether requests in clear text are refused, but for health, metrics and the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequireHttps {
    /// From beyond this machine, if there is a certificate.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The origin of a page (RFC 6454): `https://app.example.org`, lower-case, without a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebOrigin(pub String);

/// Who may call the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// A file with the hashes of API keys.
    pub keys_file: Option<PathBuf>,
    /// Principals with client certificates.
    pub certificates: Vec<CertificatePrincipal>,
    /// Whether a key or token needs a client certificate beside it. Default no.
    pub require_certificate: bool,
    /// Whether API keys are taken from the query. Default no: queries are logged by proxies.
    pub allow_query_key: bool,
    /// Requests per second of one caller; `None` is unlimited. Default 500.
    pub rate_per_caller: Option<u32>,
    /// Credentials per minute for one user; `None` is unlimited. Default 30.
    pub rate_per_user: Option<u32>,
    /// Failed attempts per minute and client address; `None` is unlimited. Default 20.
    pub authentication_failures: Option<u32>,
}

/// A name in client certificates with what its owner may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificatePrincipal {
    /// A subject alternative name: `dns:…`, `uri:…`, `email:…` or `ip:…`.
    pub name: String,
    /// Words of [`SCOPE_WORDS`].
    pub scopes: Vec<String>,
}

/// A scope of tokens with the scope of ours that it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeRule {
    /// As the issuer writes it.
    pub theirs: String,
    /// A word of [`SCOPE_WORDS`].
    pub ours: String,
}

/// What callers may be allowed to do.
pub const SCOPE_WORDS: [&str; 5] = ["issue", "revoke", "read", "signal", "admin"];

/// Tokens that callers may bring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwt {
    /// Who must have made them; `None` (the default) takes no tokens.
    pub issuer: Option<String>,
    /// Whom they must have been made for: one of these.
    pub audience: Vec<TokenAudience>,
    /// Where the keys of the issuer are.
    pub jwks_url: Option<String>,
    /// Authorities for the server of `jwks_url`, instead of the system's.
    pub jwks_ca_file: Option<PathBuf>,
    /// A file with keys of the issuer.
    pub keys_file: Option<PathBuf>,
    /// A file with a secret shared with the issuer.
    pub hs256_secret_file: Option<PathBuf>,
    /// A secret of this process, for the tokens of a bare start; not configured.
    pub trial_secret: Option<SecretBytes>,
    /// What they may be signed with, beside HS256 where there is a secret. Default: all but HS256.
    pub algorithms: Vec<Algorithm>,
    /// By how much clocks may differ. Default 60 s.
    pub leeway: Duration,
    /// The longest they may be valid. Default 24 h.
    pub lifetime_max: Duration,
    /// What their scopes stand for.
    pub scopes: Vec<ScopeRule>,
    /// The claim with grants. Default `rtc`.
    pub grants_claim: String,
}

/// One value of `aud`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenAudience(pub String);

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9641)),
            control_socket: ControlSocket::default(),
            threads: 1,
            connections_max: 1024,
            require_https: RequireHttps::Auto,
            client_ca_file: None,
            trusted_proxies: Vec::new(),
            metrics_from: networks(&[
                "127.0.0.0/8",
                "10.0.0.0/8",
                "172.16.0.0/12",
                "192.168.0.0/16",
                "169.254.0.0/16",
                "::1/128",
                "fc00::/7",
                "fe80::/10",
            ]),
            cors_origins: Vec::new(),
        }
    }
}

fn networks(list: &[&str]) -> Vec<IpNet> {
    list.iter().filter_map(|network| network.parse().ok()).collect()
}

impl Default for Api {
    fn default() -> Self {
        Self {
            keys_file: None,
            certificates: Vec::new(),
            require_certificate: false,
            allow_query_key: false,
            rate_per_caller: Some(500),
            rate_per_user: Some(30),
            authentication_failures: Some(20),
        }
    }
}

impl Default for Jwt {
    fn default() -> Self {
        let scopes = SCOPE_WORDS.iter().flat_map(|word| {
            [format!("turn.{word}"), format!("turn:{word}")]
                .map(|theirs| ScopeRule { theirs, ours: (*word).to_owned() })
        });
        Self {
            issuer: None,
            audience: Vec::new(),
            jwks_url: None,
            jwks_ca_file: None,
            keys_file: None,
            hs256_secret_file: None,
            trial_secret: None,
            algorithms: Algorithm::PUBLIC.to_vec(),
            leeway: Duration::from_secs(60),
            lifetime_max: Duration::from_secs(86_400),
            scopes: scopes.collect(),
            grants_claim: "rtc".to_owned(),
        }
    }
}

impl Jwt {
    /// Whether `jwks_url` may be asked: over HTTPS, or this machine.
    #[must_use]
    pub fn jwks_url_is_safe(url: &str) -> bool {
        if let Some(rest) = url.strip_prefix("https://") {
            return !rest.is_empty() && !rest.starts_with(['/', ':']);
        }
        let Some(rest) = url.strip_prefix("http://") else { return false };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') {
            return false;
        }
        let host = match authority.strip_prefix('[') {
            Some(literal) => literal.split(']').next().unwrap_or_default(),
            None => authority.split(':').next().unwrap_or_default(),
        };
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine_alone() {
        for url in
            ["https://auth.example/jwks", "http://localhost:81/k", "http://127.0.0.1/k", "http://[::1]:81/k"]
        {
            assert!(Jwt::jwks_url_is_safe(url), "{url}");
        }
        for url in [
            "http://auth.example/jwks",
            "http://localhost.example/",
            "http://127.0.0.1@auth.example/",
            "https://",
            "https:///x",
            "file:///etc/passwd",
            "",
        ] {
            assert!(!Jwt::jwks_url_is_safe(url), "{url}");
        }
    }
}
