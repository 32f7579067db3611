//! What a node is given that was given nothing: a secret, an API key and login tokens until the process ends.

use anyhow::{Context as _, anyhow};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use super::{control::Control, has_redis, now_unix};
use crate::{
    api::{TRIAL_AUDIENCE, TRIAL_ISSUER},
    cluster::{NewApiKey, Scope, Scopes, generate_api_key},
    config::{Loaded, SecretBytes, SharedSecret, TokenAudience},
};

/// 256 random bits.
const SECRET_BYTES: usize = 32;

/// A secret, an API key and a key for login tokens that end with the process.
pub(super) struct Trial {
    secret: SharedSecret,
    token_secret: SecretBytes,
    key_text: Zeroizing<String>,
}

impl Trial {
    /// For a node that nobody could use: no secret and no users, neither configured nor kept, and no other nodes that
    /// might know some. The secret is added to the configuration.
    pub(super) fn if_needed(loaded: &mut Loaded, control: &Control) -> anyhow::Result<Option<Self>> {
        if has_redis(&loaded.config) || !control.cluster().directory().is_empty() {
            return Ok(None);
        }
        let new = NewApiKey {
            name: "trial".to_owned(),
            scopes: Scopes(vec![Scope::Admin]),
            networks: Vec::new(),
            expires: None,
        };
        let (key, key_text) = generate_api_key(new, now_unix()).context("no API key can be made")?;
        control.cluster().set_passing_key(key);
        let secret = SharedSecret { id: "generated".to_owned(), bytes: random()? };
        let trial = Self { secret, token_secret: random()?, key_text };
        trial.add_to(loaded);
        control.cluster().reload(&loaded.config).context("the generated secret cannot be used")?;
        Ok(Some(trial))
    }

    /// Adds the secret to a configuration that has none, and an issuer of login tokens to one that has none.
    pub(super) fn add_to(&self, loaded: &mut Loaded) {
        if !loaded.has_credentials() {
            loaded.config.auth.secrets.push(self.secret.clone());
        }
        let jwt = &mut loaded.config.jwt;
        if jwt.issuer.is_none() {
            jwt.issuer = Some(TRIAL_ISSUER.to_owned());
            jwt.audience = vec![TokenAudience(TRIAL_AUDIENCE.to_owned())];
            jwt.trial_secret = Some(self.token_secret.clone());
        }
    }

    /// The key itself.
    pub(super) fn key_text(&self) -> &str {
        &self.key_text
    }
}

fn random() -> anyhow::Result<SecretBytes> {
    let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
    getrandom::fill(&mut bytes[..]).map_err(|error| anyhow!("the system gives no random bytes: {error}"))?;
    let text = Zeroizing::new(STANDARD.encode(&bytes[..]));
    Ok(SecretBytes::new(text.as_bytes()))
}
