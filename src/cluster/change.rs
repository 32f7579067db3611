//! What callers change: secrets, API keys, revocations.

use futures_util::future::join;
use zeroize::Zeroizing;

use super::{
    Answer, ApiKey, ApiKeysError, Ask, Cluster, NewApiKey, NodeId, RequestError, Revoked, Rotation, Row,
    SecretInfo, SecretSource, SecretState, SecretsError, StoreError, Table, api_keys,
    clock::{unix_millis, unix_seconds},
    revocation::StoredRevocation,
    secrets::{self, StoredSecret},
    tables::{API_KEYS_MAX, REVOCATIONS_MAX, SECRETS_MAX},
};
use crate::{
    config::SecretBytes,
    credentials::{KeyId, Revocation},
};

/// Random bytes of a generated secret.
const SECRET_BYTES: usize = 32;

impl Cluster {
    /// All secrets with their states, and how many live allocations were made with each on the nodes that answer.
    pub async fn secrets(&self) -> Vec<SecretInfo> {
        let answers = self.ask_all(Ask::SecretsInUse).await;
        let mut infos = self.secret_infos();
        for (_, answer) in answers {
            let Ok(Answer::SecretsInUse(counts)) = answer else { continue };
            for (id, count) in counts {
                if let Some(info) = infos.iter_mut().find(|info| info.id == id) {
                    info.allocations += count;
                }
            }
        }
        infos
    }

    /// Adds a secret: `None` for the id draws one, `None` for the bytes generates 256 random bits. As `Next` it is
    /// accepted by all nodes and nothing is made with it; as `Active` credentials are made with it as soon as every
    /// node has taken it over, and the one before retires.
    ///
    /// # Errors
    /// [`SecretsError`]; after [`SecretsError::NotEverywhere`] it is there as `Next`, else nothing was changed.
    pub async fn add_secret(
        &self,
        id: Option<KeyId>,
        bytes: Option<SecretBytes>,
        state: SecretState,
    ) -> Result<SecretInfo, SecretsError> {
        let _changing = self.inner.changing.lock().await;
        if !matches!(state, SecretState::Next | SecretState::Active) {
            return Err(SecretsError::State);
        }
        let id = self.add_next(id, bytes).await?;
        if state == SecretState::Active {
            self.activate(&id).await?;
        }
        self.secret_info(&id)
    }

    /// Makes the oldest `next` secret active (one is generated if there is none) as soon as every node has taken it
    /// over; the active one retires, and is removed when the last credential made with it is over.
    ///
    /// # Errors
    /// [`SecretsError`]; after [`SecretsError::NotEverywhere`] the next one is there, and nothing else was changed.
    pub async fn rotate_secrets(&self) -> Result<Rotation, SecretsError> {
        let _changing = self.inner.changing.lock().await;
        let infos = self.secret_infos();
        let before = infos.iter().find(|info| info.state == SecretState::Active).cloned();
        let next =
            infos.iter().filter(|info| info.state == SecretState::Next).min_by_key(|info| info.created);
        let id = match next.and_then(|info| KeyId::new(&info.id).ok()) {
            Some(id) => id,
            None => self.add_next(None, None).await?,
        };
        self.activate(&id).await?;
        let retiring = before.and_then(|before| KeyId::new(&before.id).ok());
        let retiring = retiring.map(|id| self.secret_info(&id)).transpose()?;
        Ok(Rotation { active: self.secret_info(&id)?, retiring })
    }

    /// Removes a stored secret at once: what was made with it is not accepted any more.
    ///
    /// # Errors
    /// [`SecretsError`]; the active one and the last one only go by `force`.
    pub async fn remove_secret(&self, id: &KeyId, force: bool) -> Result<SecretInfo, SecretsError> {
        let _changing = self.inner.changing.lock().await;
        let info = self.secret_info(id)?;
        if info.source == SecretSource::Configuration {
            return Err(SecretsError::Configured(id.clone()));
        }
        if !force && (info.state == SecretState::Active || self.secret_infos().len() == 1) {
            return Err(SecretsError::InUse(id.clone()));
        }
        let row = self.row(Table::Secrets, id.as_str(), None);
        self.write(vec![row]).await?;
        Ok(SecretInfo { state: SecretState::Removed, ..info })
    }

    /// Adds the secrets of a text: coturn's `static-auth-secret` lines, or lines as in `auth.secret_file`. Those that
    /// are known already are left alone. The first becomes active if there is no secret at all, the others are accepted
    /// as `Next`.
    ///
    /// # Errors
    /// [`SecretsError`]; what was added before the error stays.
    pub async fn import_secrets(&self, text: &str) -> Result<Vec<SecretInfo>, SecretsError> {
        let _changing = self.inner.changing.lock().await;
        let mut added = Vec::new();
        for (id, bytes) in secrets::read_secrets(text)? {
            let (placed, config) = (self.inner.state.placed(unix_seconds()), self.inner.state.config());
            if secrets::is_known(&config, &placed, &bytes) {
                continue;
            }
            let is_first = placed.is_empty();
            drop(placed);
            let id = self.add_next(id, Some(bytes)).await?;
            if is_first {
                self.activate(&id).await?;
            }
            added.push(self.secret_info(&id)?);
        }
        Ok(added)
    }

    /// Makes an API key. The text is answered once and kept nowhere.
    ///
    /// # Errors
    /// [`ApiKeysError`]; then nothing was changed.
    pub async fn create_api_key(&self, new: NewApiKey) -> Result<(ApiKey, Zeroizing<String>), ApiKeysError> {
        let _changing = self.inner.changing.lock().await;
        let now = unix_seconds();
        let count = self.inner.state.with_tables(|tables| tables.live(Table::ApiKeys, now).count());
        if count >= API_KEYS_MAX {
            return Err(ApiKeysError::TooMany(count));
        }
        let (key, text) = api_keys::generate(new, now)?;
        let row = self.row(Table::ApiKeys, &key.id, json(&key));
        self.write(vec![row]).await?;
        Ok((key, text))
    }

    /// Revokes an API key at once, and answers whether there was one.
    ///
    /// # Errors
    /// [`ApiKeysError::Configured`], [`ApiKeysError::Store`].
    pub async fn revoke_api_key(&self, id: &str) -> Result<bool, ApiKeysError> {
        let _changing = self.inner.changing.lock().await;
        let keys = self.inner.state.api_keys();
        if keys.is_configured(id) {
            return Err(ApiKeysError::Configured(id.to_owned()));
        }
        if keys.find(id).is_none() {
            return Ok(false);
        }
        let row = self.row(Table::ApiKeys, id, None);
        self.write(vec![row]).await?;
        Ok(true)
    }

    /// Notes that an API key was used at `now` (seconds since the Unix epoch). Written to the file at most once a
    /// minute and key.
    pub fn api_key_used(&self, id: &str, now: u64) {
        self.inner.state.used(id, now);
    }

    /// When an API key was last used on this node: seconds since the Unix epoch.
    #[must_use]
    pub fn last_used(&self, id: &str) -> Option<u64> {
        self.inner.state.last_used(id)
    }

    /// Revokes: the row is synced to the file, then takes effect on this node and at the same time on all others, and
    /// goes on to whoever is away. Answers how many live allocations were ended.
    ///
    /// # Errors
    /// [`StoreError`]: it could not be kept. Except for [`StoreError::Full`] it is in effect nevertheless, on all nodes,
    /// and only this node's restart might forget it.
    pub async fn revoke(&self, revocation: Revocation) -> Result<Revoked, StoreError> {
        let cluster = self.clone();
        // All of it, even if whoever asked goes.
        let revoking = tokio::spawn(async move { cluster.revoke_everywhere(revocation).await });
        revoking.await.unwrap_or(Err(StoreError::Closed))
    }

    async fn revoke_everywhere(&self, revocation: Revocation) -> Result<Revoked, StoreError> {
        let (now, state, peers) = (unix_seconds(), &self.inner.state, &self.inner.peers);
        let count = state.revocations().len();
        if count >= REVOCATIONS_MAX {
            return Err(StoreError::Full(count));
        }
        let value = json(&StoredRevocation::of(&revocation));
        let row = self.row(Table::Revocations, &revocation.id, value).until(revocation.expires.max(now));
        let kept = state.store.write_rows(vec![row.clone()]).await;
        let news = state.merge(vec![row]).await;
        let (own, others) = join(state.act(news.clone()), peers.ask_all(Ask::Apply(news.clone()))).await;
        // Only now, so that what a node ends is counted by the answer to this question. Whoever did not answer learns of
        // it this way.
        peers.publish(news);
        kept?;
        let mut nodes = vec![(self.id().to_owned(), Ok(own))];
        nodes.extend(
            others.into_iter().map(|(node, answer)| (node.clone(), answer.and_then(|a| cut(node, a)))),
        );
        Ok(Revoked { cut: nodes.iter().filter_map(|(_, cut)| cut.as_ref().ok()).sum(), nodes })
    }

    fn secret_infos(&self) -> Vec<SecretInfo> {
        self.inner.state.placed(unix_seconds()).into_iter().map(|placed| placed.info).collect()
    }

    fn secret_info(&self, id: &KeyId) -> Result<SecretInfo, SecretsError> {
        let found = self.secret_infos().into_iter().find(|info| info.id == id.as_str());
        found.ok_or_else(|| SecretsError::Unknown(id.clone()))
    }

    async fn add_next(&self, id: Option<KeyId>, bytes: Option<SecretBytes>) -> Result<KeyId, SecretsError> {
        let now = unix_seconds();
        let infos = self.secret_infos();
        if infos.len() >= SECRETS_MAX {
            return Err(SecretsError::TooMany(infos.len()));
        }
        let id = match id {
            Some(id) => id,
            None => drawn_id(now)?,
        };
        if infos.iter().any(|info| info.id == id.as_str()) {
            return Err(SecretsError::Exists(id));
        }
        let bytes = match bytes {
            Some(bytes) => bytes,
            None => random_bytes()?,
        };
        secrets::check_length(&bytes)?;
        let row = self.row(Table::Secrets, id.as_str(), json(&StoredSecret::new(&bytes, now)));
        self.write(vec![row]).await?;
        Ok(id)
    }

    /// Everybody has it before anybody makes credentials with it.
    async fn activate(&self, id: &KeyId) -> Result<(), SecretsError> {
        let now = unix_seconds();
        let state = &self.inner.state;
        let rows = state.with_tables(|tables| tables.get(Table::Secrets, id.as_str()).cloned());
        let row = rows.filter(|row| row.value.is_some()).ok_or_else(|| SecretsError::Unknown(id.clone()))?;
        let missing = self.without(vec![row.clone()]).await;
        if !missing.is_empty() {
            return Err(SecretsError::NotEverywhere(missing));
        }
        let mut rows = Vec::new();
        let mut since = now;
        for info in self.secret_infos() {
            since = since.max(info.activated.map_or(0, |activated| activated + 1));
        }
        for info in self.secret_infos() {
            let is_before = info.source == SecretSource::Stored && info.state == SecretState::Active;
            if is_before && info.id != id.as_str() {
                let retires = now.saturating_add(state.ttl_max());
                rows.extend(
                    self.changed(&info.id, |secret| secret.retires = Some(retires))
                        .map(|row| row.until(retires)),
                );
            }
        }
        rows.extend(self.changed(id.as_str(), |secret| {
            (secret.activated, secret.retires) = (Some(since), None);
        }));
        self.write(rows).await?;
        Ok(())
    }

    /// The nodes that did not take rows over.
    async fn without(&self, rows: Vec<Row>) -> Vec<NodeId> {
        let answers = self.inner.peers.ask_all(Ask::Apply(rows)).await;
        answers.into_iter().filter(|(_, answer)| answer.is_err()).map(|(node, _)| node).collect()
    }

    fn changed(&self, id: &str, change: impl FnOnce(&mut StoredSecret)) -> Option<Row> {
        let row = self.inner.state.with_tables(|tables| tables.get(Table::Secrets, id).cloned())?;
        let mut secret: StoredSecret = serde_json::from_str(row.value.as_deref()?).ok()?;
        change(&mut secret);
        Some(self.row(Table::Secrets, id, json(&secret)))
    }

    fn row(&self, table: Table, id: &str, value: Option<String>) -> Row {
        let (state, now) = (&self.inner.state, unix_millis());
        state.with_tables(|tables| Row::replacing(tables.get(table, id), table, id, value, now, &state.id))
    }
}

fn cut(node: NodeId, answer: Answer) -> Result<u64, RequestError> {
    match answer {
        Answer::Cut(count) => Ok(count),
        Answer::Allocations(_)
        | Answer::Closed(_)
        | Answer::Draining(_)
        | Answer::DrainProgress(_)
        | Answer::SecretsInUse(_)
        | Answer::Ended(_)
        | Answer::Explained(_)
        | Answer::Quality(_) => Err(RequestError::Silent(node)),
    }
}

fn json<T: serde::Serialize>(value: &T) -> Option<String> {
    serde_json::to_string(value).ok()
}

fn random_bytes() -> Result<SecretBytes, SecretsError> {
    let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
    getrandom::fill(&mut bytes[..]).map_err(|error| SecretsError::Random(error.to_string()))?;
    Ok(SecretBytes::new(&bytes[..]))
}

/// `s`, the time, and something random, in hexadecimal: sorts by age and is no other node's.
fn drawn_id(now: u64) -> Result<KeyId, SecretsError> {
    let mut random = [0; 2];
    getrandom::fill(&mut random).map_err(|error| SecretsError::Random(error.to_string()))?;
    KeyId::new(&format!("s{now:x}{:04x}", u16::from_le_bytes(random)))
        .map_err(|error| SecretsError::Random(error.to_string()))
}
