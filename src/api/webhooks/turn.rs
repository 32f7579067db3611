//! What the API does with credentials, as events.

use crate::{
    api::service::Service,
    cluster::{Cluster, CredentialView, RevocationView, SignalEvent},
    credentials::{Credential, Revocation},
};

impl Service {
    /// Tells the backend of a credential, if it wants to know.
    pub(crate) fn tell_issued(&self, user: &str, label: Option<&str>, credential: &Credential) {
        const KIND: &str = "turn.credential.issued";
        if !self.cluster.is_told(KIND) {
            return;
        }
        let credential = CredentialView {
            user: user.to_owned(),
            username: credential.username.clone(),
            expires: credential.expires,
            label: label.map(str::to_owned),
            key_id: credential.key_id.to_string(),
        };
        tell(&self.cluster, SignalEvent { credential: Some(credential), ..self.cluster.own_event(KIND) });
    }

    /// Tells the backend of a revocation, if it wants to know.
    pub(crate) fn tell_revoked(&self, revocation: &Revocation) {
        const KIND: &str = "turn.credential.revoked";
        if !self.cluster.is_told(KIND) {
            return;
        }
        let text = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
        let revocation = RevocationView {
            username: text(&revocation.username),
            user: text(&revocation.user),
            label: text(&revocation.label),
            key_id: revocation.key_id.as_ref().map(ToString::to_string),
            issued_before: Some(revocation.issued_before),
        };
        tell(&self.cluster, SignalEvent { revocation: Some(revocation), ..self.cluster.own_event(KIND) });
    }
}

/// Nobody waits until it is kept.
fn tell(cluster: &Cluster, event: SignalEvent) {
    tokio::spawn(cluster.record_events(vec![event]));
}
