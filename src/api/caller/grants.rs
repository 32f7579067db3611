//! What a token grants its subject.

use serde_json::{Map, Value};

use super::{Grants, SignalGrants, TurnGrant};
use crate::{
    credentials::jwt::TokenError,
    signaling::{CallGrants, CallMode, Role, RoomGrant, RoomRight, UserId},
};

/// The most rooms that a token names.
const ROOMS_MAX: usize = 256;
/// The most users that a token lets its subject call.
const CALLEES_MAX: usize = 256;
const ROOM_BYTES_MAX: usize = 128;
const DEVICE_BYTES_MAX: usize = 64;

/// As long as the name of a quota class may be.
const QUOTA_CHARS_MAX: usize = 32;

/// Reads `{"turn": {"use": true, "ttl": 3600, "relayOnly": false, "quota": "std"}}`. What else it says is not ours.
///
/// # Errors
/// Something has the wrong type: rather no grant than another than was meant.
pub(in crate::api) fn read(claim: Option<&Value>) -> Result<Grants, TokenError> {
    let fault = TokenError::Claim { claim: "turn", fault: "of the grants is not as it should be" };
    let turn = match claim {
        None | Some(Value::Null) => return Ok(Grants::default()),
        Some(Value::Object(grants)) => match grants.get("turn") {
            None | Some(Value::Null) => return Ok(Grants::default()),
            Some(Value::Object(turn)) => turn,
            Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                return Err(fault);
            }
        },
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => return Err(fault),
    };
    let flag = |name: &str| match turn.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(value) => value.as_bool().ok_or_else(|| fault.clone()),
    };
    let ttl = match turn.get("ttl") {
        None | Some(Value::Null) => None,
        Some(value) => Some(whole(value).filter(|ttl| *ttl > 0).ok_or_else(|| fault.clone())?),
    };
    let quota = match turn.get("quota") {
        None | Some(Value::Null) => None,
        Some(value) => {
            Some(value.as_str().filter(|name| is_quota(name)).ok_or_else(|| fault.clone())?.into())
        }
    };
    Ok(Grants {
        turn: Some(TurnGrant { is_granted: flag("use")?, ttl, relay_only: flag("relayOnly")?, quota }),
    })
}

/// Reads `{"device": "web", "role": "user", "rooms": {"conv-42": ["join", "send"]}, "call": {"mode": "list", "to":
/// ["u-9"]}, "presence": true, "message": true, "maxSessions": 10}`. `None`: there is no such claim.
///
/// # Errors
/// Something has the wrong type: rather no grant than another than was meant.
pub(in crate::api) fn read_signal(claim: Option<&Value>) -> Result<Option<SignalGrants>, TokenError> {
    let fault =
        |claim: &'static str| TokenError::Claim { claim, fault: "of the grants is not as it should be" };
    let grants = match claim {
        None | Some(Value::Null) => return Ok(None),
        Some(claim) => claim.as_object().ok_or_else(|| fault("the claim"))?,
    };
    let flag = |name: &'static str| match grants.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_bool().map(Some).ok_or_else(|| fault(name)),
    };
    let text = |name: &'static str| match grants.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or_else(|| fault(name)),
    };
    let is_device = |device: &&str| device.len() <= DEVICE_BYTES_MAX && !device.chars().any(char::is_control);
    let device = match text("device")? {
        Some(device) => Some(Some(device).filter(is_device).ok_or_else(|| fault("device"))?.into()),
        None => None,
    };
    let role = text("role")?.map(|role| read_role(role).ok_or_else(|| fault("role"))).transpose()?;
    let rooms = match grants.get("rooms") {
        None | Some(Value::Null) => None,
        Some(rooms) => Some(rooms.as_object().and_then(read_rooms).ok_or_else(|| fault("rooms"))?),
    };
    let call = match grants.get("call") {
        None | Some(Value::Null) => None,
        Some(call) => Some(call.as_object().and_then(read_call).ok_or_else(|| fault("call"))?),
    };
    let sessions_max = match grants.get("maxSessions") {
        None | Some(Value::Null) => None,
        Some(value) => {
            let count = whole(value).and_then(|count| u32::try_from(count).ok());
            Some(count.filter(|count| *count > 0).ok_or_else(|| fault("maxSessions"))?)
        }
    };
    let (presence, message) = (flag("presence")?, flag("message")?);
    Ok(Some(SignalGrants { device, role, rooms, call, presence, message, sessions_max }))
}

fn read_role(name: &str) -> Option<Role> {
    let known = [Role::User, Role::Sfu, Role::Backend, Role::Recorder, Role::Admin];
    known.into_iter().find(|role| role.as_str() == name)
}

fn read_rooms(rooms: &Map<String, Value>) -> Option<Vec<RoomGrant>> {
    if rooms.len() > ROOMS_MAX {
        return None;
    }
    let grant = |(name, rights): (&String, &Value)| {
        let is_name = (1..=ROOM_BYTES_MAX + 1).contains(&name.len()) && !name.chars().any(char::is_control);
        let rights = rights.as_array().filter(|_| is_name)?.iter().map(|right| match right.as_str()? {
            "join" => Some(RoomRight::Join),
            "send" => Some(RoomRight::Send),
            _ => None,
        });
        Some(RoomGrant { name: name.as_str().into(), rights: rights.collect::<Option<_>>()? })
    };
    rooms.iter().map(grant).collect()
}

fn read_call(call: &Map<String, Value>) -> Option<CallGrants> {
    let mode = match call.get("mode")?.as_str()? {
        "deny" => CallMode::Deny,
        "list" => CallMode::List,
        "grant" => CallMode::Grant,
        "webhook" => CallMode::Webhook,
        "any" => CallMode::Any,
        _ => return None,
    };
    let to = match call.get("to") {
        None | Some(Value::Null) => Vec::new(),
        Some(list) => {
            let users = list.as_array().filter(|list| list.len() <= CALLEES_MAX)?.iter();
            users.map(|user| UserId::parse(user.as_str()?)).collect::<Option<_>>()?
        }
    };
    Some(CallGrants { mode, to })
}

/// A number without a fraction, also where JSON writes it `60.0`; the largest there is where it is larger.
fn whole(value: &Value) -> Option<u64> {
    let is_whole = |number: &f64| *number >= 0.0 && number.fract() == 0.0;
    value.as_u64().or_else(|| value.as_f64().filter(is_whole).map(|number| number as u64))
}

fn is_quota(name: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b);
    (1..=QUOTA_CHARS_MAX).contains(&name.len()) && name.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_grant_says_what_its_subject_may_have() {
        let claim =
            json!({"device": "web", "turn": {"use": true, "ttl": 600, "relayOnly": true, "quota": "std"}});
        let grant =
            TurnGrant { is_granted: true, ttl: Some(600), relay_only: true, quota: Some("std".into()) };
        assert_eq!(read(Some(&claim)).unwrap().turn, Some(grant));
        assert_eq!(read(Some(&json!({"turn": {}}))).unwrap().turn, Some(TurnGrant::default()));
        for nothing in [None, Some(&Value::Null), Some(&json!({})), Some(&json!({"turn": null}))] {
            assert_eq!(read(nothing).unwrap(), Grants::default());
        }
    }

    #[test]
    fn grants_of_signaling_are_read_whole_or_not_at_all() {
        let claim = json!({
            "device": "web-7f3", "role": "sfu", "rooms": {"conv-42": ["join", "send"], "team-*": ["join"]},
            "call": {"mode": "list", "to": ["u-9"]}, "presence": false, "maxSessions": 3, "later": 1,
        });
        let grants = read_signal(Some(&claim)).unwrap().unwrap();
        assert_eq!((grants.device.as_deref(), grants.role), (Some("web-7f3"), Some(Role::Sfu)));
        let rooms = grants.rooms.unwrap();
        assert_eq!((&*rooms[1].name, &rooms[1].rights[..]), ("team-*", &[RoomRight::Join][..]));
        assert_eq!(grants.call.unwrap().mode, CallMode::List);
        assert_eq!((grants.presence, grants.message, grants.sessions_max), (Some(false), None, Some(3)));
        assert_eq!(read_signal(None), Ok(None));
        assert_eq!(read_signal(Some(&json!({}))), Ok(Some(SignalGrants::default())));
        for wrong in [
            json!([]),
            json!({"role": "king"}),
            json!({"rooms": ["conv-42"]}),
            json!({"rooms": {"conv-42": ["dance"]}}),
            json!({"rooms": {"": ["join"]}}),
            json!({"call": {}}),
            json!({"call": {"mode": "some"}}),
            json!({"call": {"mode": "list", "to": "u-9"}}),
            json!({"presence": "yes"}),
            json!({"maxSessions": 0}),
            json!({"device": "x".repeat(65)}),
        ] {
            assert!(read_signal(Some(&wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_grant_of_the_wrong_form_is_none() {
        for claim in [
            json!("turn"),
            json!({"turn": true}),
            json!({"turn": {"use": "yes"}}),
            json!({"turn": {"ttl": -1}}),
            json!({"turn": {"ttl": 0}}),
            json!({"turn": {"ttl": 0.5}}),
            json!({"turn": {"ttl": "1h"}}),
            json!({"turn": {"relayOnly": 1}}),
            json!({"turn": {"quota": "Std"}}),
            json!({"turn": {"quota": ""}}),
        ] {
            assert!(read(Some(&claim)).is_err(), "{claim}");
        }
    }
}
