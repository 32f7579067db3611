//! Sessions of the signaling relay that end on all nodes, and tokens that begin no new ones.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    Answer, Ask, Cluster, NodeId, RequestError, Row, SESSION_REVOCATIONS_MAX, StoreError, Table,
    clock::{unix_millis, unix_seconds},
};

/// Sessions that are to end at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndSessions {
    /// All of a user.
    User(String),
    /// All that began with the token of this id (`jti`).
    Token(String),
    /// One.
    Session(String),
    /// None, but one has to leave a room.
    Member {
        /// Which session.
        session: String,
        /// Which room.
        room: String,
    },
}

/// Tokens that begin no session any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRevocation {
    /// Which tokens.
    pub of: RevokedTokens,
    /// Until when any of them could be valid: seconds since the Unix epoch.
    pub expires: u64,
}

/// Which tokens begin no session any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevokedTokens {
    /// Those of a user that were issued at this second since the Unix epoch or before, or do not say when.
    User(String, u64),
    /// The one of this id.
    Id(String),
}

impl SessionRevocation {
    /// Names the row: the same for the same user or token.
    fn row_id(&self) -> String {
        let (kind, name) = match &self.of {
            RevokedTokens::User(user, _) => ("u", user),
            RevokedTokens::Id(id) => ("t", id),
        };
        let hash = Sha256::digest(name.as_bytes());
        format!("{kind}{}", hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }
}

impl Cluster {
    /// What tokens begin no session any more.
    #[must_use]
    pub fn session_revocations(&self) -> Vec<SessionRevocation> {
        let read = |row: &Row| serde_json::from_str(row.value.as_deref()?).ok();
        let now = unix_seconds();
        self.inner
            .state
            .with_tables(|tables| tables.live(Table::SessionRevocations, now).filter_map(read).collect())
    }

    /// Refuses tokens from now on, on all nodes and after restarts.
    ///
    /// # Errors
    /// [`StoreError`]: it could not be kept.
    pub async fn revoke_sessions(&self, revocation: &SessionRevocation) -> Result<(), StoreError> {
        let _changing = self.inner.changing.lock().await;
        let (state, now) = (&self.inner.state, unix_seconds());
        let count = state.with_tables(|tables| tables.live(Table::SessionRevocations, now).count());
        if count >= SESSION_REVOCATIONS_MAX {
            return Err(StoreError::Full(count));
        }
        let (id, value) = (revocation.row_id(), serde_json::to_string(revocation).ok());
        let row = state.with_tables(|tables| {
            let replaced = tables.get(Table::SessionRevocations, &id);
            Row::replacing(replaced, Table::SessionRevocations, id.clone(), value, unix_millis(), &state.id)
        });
        self.write(vec![row.until(revocation.expires)]).await
    }

    /// Ends sessions on all nodes, and answers how many there were on each.
    pub async fn end_sessions(&self, which: EndSessions) -> Vec<(NodeId, Result<u64, RequestError>)> {
        let answers = self.ask_all(Ask::EndSessions(which)).await;
        answers
            .into_iter()
            .map(|(node, answer)| (node.clone(), answer.and_then(|it| ended(node, it))))
            .collect()
    }

    /// Has all nodes forget what the backend said of a user, or all of it.
    pub async fn forget_decisions(&self, user: Option<String>) -> Vec<(NodeId, Result<u64, RequestError>)> {
        let answers = self.ask_all(Ask::ForgetDecisions(user)).await;
        answers
            .into_iter()
            .map(|(node, answer)| (node.clone(), answer.and_then(|it| ended(node, it))))
            .collect()
    }
}

fn ended(node: NodeId, answer: Answer) -> Result<u64, RequestError> {
    match answer {
        Answer::Ended(count) => Ok(count),
        Answer::Cut(_)
        | Answer::Allocations(_)
        | Answer::Closed(_)
        | Answer::Draining(_)
        | Answer::DrainProgress(_)
        | Answer::SecretsInUse(_)
        | Answer::Explained(_)
        | Answer::Quality(_) => Err(RequestError::Silent(node)),
    }
}
