//! Tokens that begin no session any more.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;

use crate::{
    api::caller::TokenFacts,
    cluster::{RevokedTokens, SessionRevocation},
    signaling::{Revoke, UserId},
};

/// Tokens that begin no session any more, as the cluster knows them.
#[derive(Debug, Default)]
pub(super) struct Revoked(ArcSwap<Table>);

#[derive(Debug, Default)]
struct Table {
    ids: HashMap<Box<str>, ()>,
    /// Issued at this second or before.
    users: HashMap<Box<str>, u64>,
}

impl Revoked {
    /// Takes over what the cluster knows now; answers what is new.
    pub(super) fn set(&self, revocations: Vec<SessionRevocation>) -> Vec<Revoke> {
        let before = self.0.load();
        let (mut table, mut news) = (Table::default(), Vec::new());
        for revocation in revocations {
            match revocation.of {
                RevokedTokens::Id(id) => {
                    if !before.ids.contains_key(&*id) {
                        news.push(Revoke::Token(id.as_str().into()));
                    }
                    table.ids.insert(id.into(), ());
                }
                RevokedTokens::User(user, issued) => {
                    if before.users.get(&*user) != Some(&issued) {
                        news.extend(UserId::parse(&user).map(Revoke::User));
                    }
                    table.users.insert(user.into(), issued);
                }
            }
        }
        self.0.store(Arc::new(table));
        news
    }

    /// Whether this user cannot come in with this token; services have none.
    pub(super) fn hits(&self, user: &UserId, token: Option<&TokenFacts>) -> bool {
        let (table, Some(token)) = (self.0.load(), token) else { return false };
        let is_named = token.id.as_ref().is_some_and(|id| table.ids.contains_key(id));
        let is_old = |issued: &u64| token.issued.is_none_or(|at| at <= *issued);
        is_named || table.users.get(user.as_str()).is_some_and(is_old)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: Option<&str>, issued: Option<u64>) -> TokenFacts {
        TokenFacts { expires: 0, issued, id: id.map(Into::into), scopes: Vec::new(), signal: Ok(None) }
    }

    #[test]
    fn a_revoked_user_needs_a_newer_token_and_a_revoked_token_is_over() {
        let revoked = Revoked::default();
        let (bob, eve) = (UserId::parse("bob").unwrap(), UserId::parse("eve").unwrap());
        let of = |of| SessionRevocation { of, expires: 1000 };
        let both =
            vec![of(RevokedTokens::User("bob".to_owned(), 100)), of(RevokedTokens::Id("t-1".to_owned()))];
        let news = revoked.set(both.clone());
        assert_eq!(news, [Revoke::User(bob.clone()), Revoke::Token("t-1".into())]);
        assert_eq!(revoked.set(both), []);
        for (user, token, is_hit) in [
            (&bob, token(None, Some(100)), true),
            (&bob, token(None, None), true),
            (&bob, token(None, Some(101)), false),
            (&eve, token(None, Some(100)), false),
            (&eve, token(Some("t-1"), Some(500)), true),
            (&eve, token(Some("t-2"), Some(500)), false),
        ] {
            assert_eq!(revoked.hits(user, Some(&token)), is_hit, "{token:?}");
        }
        assert!(!revoked.hits(&bob, None));
        let again = vec![of(RevokedTokens::User("bob".to_owned(), 200))];
        assert_eq!(revoked.set(again), [Revoke::User(bob)]);
    }
}
