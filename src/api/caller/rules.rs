//! Who may call, as it is configured.

use std::{path::Path, sync::Arc};

use rustls::server::{WebPkiClientVerifier, danger::ClientCertVerifier};
use thiserror::Error;

use super::tokens::Tokens;
use crate::{
    api::{authorities::read_authorities, counters::ApiCounters},
    cluster::{Scope, Scopes},
    config::{self, Config},
};

/// What is configured; replaced as a whole.
pub(in crate::api) struct Rules {
    pub(in crate::api) http: config::Http,
    pub(in crate::api) has_certificate: bool,
    /// Proves client certificates.
    pub(in crate::api) client_verifier: Option<Arc<dyn ClientCertVerifier>>,
    pub(super) api: config::Api,
    certificates: Vec<(Box<str>, Scopes)>,
    pub(super) tokens: Option<(config::Jwt, Arc<Tokens>)>,
}

/// Why callers cannot be told as configured.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AccessError {
    /// The authorities of client certificates cannot be used.
    #[error("http.client_ca_file = {0}")]
    ClientAuthorities(String),
    /// The backend that decides cannot be asked.
    #[error("signal.authorize_url: {0}")]
    Signal(String),
    /// Tokens cannot be verified.
    #[error("{0}")]
    Tokens(String),
}

impl Rules {
    pub(super) fn new(
        config: &Config,
        before: Option<&Self>,
        counters: &Arc<ApiCounters>,
    ) -> Result<Self, AccessError> {
        let before = before.and_then(|rules| rules.tokens.as_ref());
        let tokens = Tokens::new(&config.jwt, before, counters)
            .map_err(|error| AccessError::Tokens(error.to_string()))?
            .map(|tokens| (config.jwt.clone(), tokens));
        let client_verifier = config.http.client_ca_file.as_deref().map(client_verifier).transpose()?;
        let certificates = config.api.certificates.iter().map(|principal| {
            let scopes = Scope::ALL.into_iter();
            let scopes = scopes.filter(|scope| principal.scopes.iter().any(|word| word == scope.as_str()));
            (principal.name.as_str().into(), Scopes(scopes.collect()))
        });
        Ok(Self {
            http: config.http.clone(),
            has_certificate: config.tls.certificate.is_some(),
            client_verifier,
            api: config.api.clone(),
            certificates: certificates.collect(),
            tokens,
        })
    }

    /// Those of the listener alone.
    #[cfg(test)]
    pub(in crate::api) fn of_listener(http: config::Http, has_certificate: bool) -> Self {
        Self {
            http,
            has_certificate,
            client_verifier: None,
            api: config::Api::default(),
            certificates: Vec::new(),
            tokens: None,
        }
    }

    /// The first configured principal whose name is in the certificate.
    pub(super) fn principal(&self, names: &[Box<str>]) -> Option<(&str, &Scopes)> {
        let mut configured = self.certificates.iter();
        configured.find(|(name, _)| names.contains(name)).map(|(name, scopes)| (&**name, scopes))
    }
}

fn client_verifier(path: &Path) -> Result<Arc<dyn ClientCertVerifier>, AccessError> {
    let store = read_authorities(path).map_err(|error| AccessError::ClientAuthorities(error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider);
    // Whether one is needed is judged per request, with an answer that says so.
    let verifier: Arc<dyn ClientCertVerifier> = builder.allow_unauthenticated().build().map_err(|error| {
        AccessError::ClientAuthorities(format!("{} cannot be used: {error}", path.display()))
    })?;
    Ok(verifier)
}
