//! What contradicts itself in `http`, `api` and `jwt`.

use std::path::Path;

use zeroize::Zeroizing;

use super::{
    super::{
        read::read_text,
        types::{Jwt, RequireHttps},
    },
    Check,
};
use crate::credentials::jwt::{KeySet, VerifyingKey};

/// No set of keys, secret or list of authorities is larger.
const FILE_BYTES_MAX: u64 = 1 << 20;

impl Check<'_> {
    pub(super) fn http(&mut self) {
        let (http, api) = (&self.config.http, &self.config.api);
        let has_certificate = self.config.tls.certificate.is_some();
        if http.require_https == RequireHttps::Always && !has_certificate && http.trusted_proxies.is_empty() {
            self.error(
                "http.require_https",
                "nobody could call: there is no tls.certificate, and no http.trusted_proxies that could have one",
            );
        }
        if http.client_ca_file.is_some() && !has_certificate {
            self.error("http.client_ca_file", "needs HTTPS; set tls.certificate and tls.private_key");
        }
        if http.client_ca_file.is_none() {
            if !api.certificates.is_empty() {
                self.error(
                    "api.certificates",
                    "no client is asked for a certificate; set http.client_ca_file",
                );
            }
            if api.require_certificate {
                self.error(
                    "api.require_certificate",
                    "no client is asked for a certificate; set http.client_ca_file",
                );
            }
        }
        for network in &http.trusted_proxies {
            if network.prefix_len() == 0 {
                let message = format!("{network} lets everybody claim any address; name the proxies");
                self.warn("http.trusted_proxies", message);
            }
        }
        self.readable("http.client_ca_file", http.client_ca_file.as_deref());
        self.readable("api.keys_file", api.keys_file.as_deref());
    }

    pub(super) fn jwt(&mut self) {
        let jwt = &self.config.jwt;
        let has_keys = jwt.jwks_url.is_some() || jwt.keys_file.is_some() || jwt.hs256_secret_file.is_some();
        if jwt.issuer.is_some() {
            if jwt.audience.is_empty() {
                self.error("jwt.issuer", "tokens for others would be taken too; set jwt.audience");
            }
            if !has_keys {
                self.error("jwt.issuer", "no token could be verified; set jwt.jwks_url or jwt.keys_file");
            }
        } else if has_keys {
            let key = match (&jwt.jwks_url, &jwt.keys_file) {
                (Some(_), _) => "jwt.jwks_url",
                (None, Some(_)) => "jwt.keys_file",
                (None, None) => "jwt.hs256_secret_file",
            };
            self.error(key, "no token is taken without jwt.issuer; set it");
        }
        if jwt.algorithms.is_empty() && jwt.hs256_secret_file.is_none() && jwt.issuer.is_some() {
            self.error("jwt.algorithms", "is empty, so every token would be refused; name some");
        }
        if let Some(url) = &jwt.jwks_url
            && !Jwt::jwks_url_is_safe(url)
        {
            self.error("jwt.jwks_url", "is not an https:// URL; plain http:// is for this machine alone");
        }
        self.readable("jwt.jwks_ca_file", jwt.jwks_ca_file.as_deref());
        self.key_files();
    }

    fn key_files(&mut self) {
        let jwt = &self.config.jwt;
        if let Some(text) = self.readable("jwt.keys_file", jwt.keys_file.as_deref())
            && let Err(error) = KeySet::parse(&text)
        {
            self.error("jwt.keys_file", error.to_string());
        }
        if let Some(text) = self.readable("jwt.hs256_secret_file", jwt.hs256_secret_file.as_deref()) {
            let text = zeroize::Zeroizing::new(text);
            let mut lines = text.lines().filter(|line| !line.is_empty()).peekable();
            if lines.peek().is_none() {
                self.error("jwt.hs256_secret_file", "is empty; write a secret of at least 32 bytes");
            }
            for line in lines {
                if let Err(error) = VerifyingKey::shared(line.as_bytes()) {
                    self.error("jwt.hs256_secret_file", error.to_string());
                }
            }
        }
    }

    /// The contents of a file that is named.
    fn readable(&mut self, key: &'static str, path: Option<&Path>) -> Option<Zeroizing<String>> {
        let path = path?;
        read_text(path, FILE_BYTES_MAX).map_err(|error| self.error(key, error.to_string())).ok()
    }
}
