//! What tokens of tests may do.

use iceway::signaling::{
    Answer, Ask, CallGrants, CallMode, Decision, Grants, Identity, Role, TurnGrants, UserId,
};

/// A token that may do everything a person may.
pub(crate) fn everything() -> Grants {
    Grants {
        role: Role::User,
        rooms: vec![],
        ask_rooms: true,
        call: CallGrants { mode: CallMode::Any, to: vec![] },
        presence: true,
        message: true,
        sessions_max: 0,
        turn: Some(TurnGrants::default()),
    }
}

/// Whoever shows a token is the user it names and may do everything, but has no ICE servers.
pub(crate) fn anybody(ask: &Ask) -> Decision {
    let (Ask::Hello { token, .. } | Ask::Refresh { token }) = ask else {
        return Decision::Right(Ok(Answer::default()));
    };
    Decision::Identity(Ok(Box::new(Identity {
        user: UserId::parse(token).expect("a user"),
        device: None,
        expires: None,
        token_id: None,
        grants: Grants { turn: None, ..everything() },
        ice_servers: None,
    })))
}
