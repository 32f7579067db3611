//! Revocations, worked out a second time: rows looked at one by one, names taken apart in another way.

use iceway::{
    credentials::{KeyId, Revocation, Revocations},
    stun::Message,
    turn::FiveTuple,
};

use crate::{
    model::{Clocks, Model},
    people::{self, Said},
    world::World,
};

/// The longest life that plain names are taken to have.
pub(crate) const PLAIN_LIFE: u64 = 1_000;
/// Older rows are forgotten.
const ROWS_MAX: usize = 12;

/// One revocation.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    username: Option<String>,
    user: Option<String>,
    label: Option<String>,
    key: Option<&'static str>,
    issued_before: u64,
    expires: u64,
    cut: bool,
}

impl Row {
    fn hits(&self, username: &str, key: &str, unix: u64) -> bool {
        let Some(expires) = people::expires(username) else { return false };
        let Said { user, label, issued, .. } = people::said(username);
        let issued = issued.unwrap_or(expires.saturating_sub(PLAIN_LIFE));
        let differs = self.username.as_deref().is_some_and(|name| name != username)
            || self.user.as_ref().is_some_and(|name| *name != user)
            || self.label.is_some() && self.label != label
            || self.key.is_some_and(|wanted| wanted != key);
        !differs && issued <= self.issued_before && unix <= self.expires
    }

    fn to_core(&self, id: usize) -> Revocation {
        Revocation {
            id: id.to_string().into(),
            username: self.username.as_deref().map(Into::into),
            user: self.user.as_deref().map(Into::into),
            label: self.label.as_deref().map(Into::into),
            key_id: self.key.map(|key| KeyId::new(key).unwrap()),
            issued_before: self.issued_before,
            expires: self.expires,
            cut: self.cut,
        }
    }
}

impl Model {
    fn is_hit(&self, username: &str, key: &str, unix: u64) -> bool {
        self.rows.iter().any(|row| row.hits(username, key, unix))
    }

    /// Nobody who is revoked gets anything: neither success, nor sockets.
    pub(crate) fn assert_not_revoked(&self, from: FiveTuple, request: &Message<'_>, clocks: Clocks) {
        let Some(username) = self.signer(from, request) else { return };
        let keys = people::keys(&username, request);
        let is_hit = !keys.is_empty() && keys.iter().all(|key| self.is_hit(&username, key, clocks.unix));
        assert!(!is_hit, "{username} is revoked: {:?}", self.rows);
        let live = self.allocations.get(&from).filter(|live| live.username == username);
        let was_hit = live.is_some_and(|live| live.is_revoked && live.is_sure(clocks.now));
        assert!(!was_hit, "{username} was revoked, and its allocation is served again");
    }

    /// Whoever is refused for being revoked is revoked, or was when its allocation was there. The nonce may be anybody's.
    pub(crate) fn assert_revoked(&self, from: FiveTuple, request: &Message<'_>, unix: u64) {
        let username = people::name_of(request).expect("who is revoked has a name");
        let keys = people::keys(&username, request);
        assert!(!keys.is_empty(), "a stranger is told of revocations");
        let is_hit = keys.iter().any(|key| self.is_hit(&username, key, unix));
        let was_hit = self.allocations.get(&from).is_some_and(|live| live.maybe_revoked);
        assert!(is_hit || was_hit, "{username} is not revoked: {:?}", self.rows);
    }

    /// Whether an allocation may be ended now.
    pub(crate) fn may_be_cut(&self, client: FiveTuple, unix: u64) -> bool {
        let Some(live) = self.allocations.get(&client) else { return false };
        let cuts = |key: &&str| self.rows.iter().any(|row| row.cut && row.hits(&live.username, key, unix));
        live.keys.iter().any(cuts)
    }

    /// Takes over revocations. Answers whose allocations must end now.
    fn revoke(&mut self, rows: Vec<Row>, clocks: Clocks) -> Vec<FiveTuple> {
        self.rows = rows;
        let mut cut = Vec::new();
        for (client, live) in &mut self.allocations {
            let hit = |key: &&str| self.rows.iter().any(|row| row.hits(&live.username, key, clocks.unix));
            let cuts = |key: &&str| {
                self.rows.iter().any(|row| row.cut && row.hits(&live.username, key, clocks.unix))
            };
            live.is_revoked |= !live.keys.is_empty() && live.keys.iter().all(hit);
            live.maybe_revoked |= live.keys.iter().any(hit);
            if !live.keys.is_empty() && live.keys.iter().all(cuts) {
                cut.push(*client);
            }
        }
        let rows = std::mem::take(&mut self.rows);
        self.abandon(|request| {
            let Some(username) = people::name_of(request) else { return false };
            let keys = people::keys(&username, request);
            keys.iter().any(|key| rows.iter().any(|row| row.hits(&username, key, clocks.unix)))
        });
        self.rows = rows;
        cut
    }
}

impl World {
    /// An operator revokes somebody, or forgets what was revoked.
    pub(crate) fn revoke(&mut self) {
        let mut rows = self.model.rows.clone();
        if self.chance.percent(15) {
            rows.clear();
        } else {
            rows.push(self.some_row());
        }
        let superfluous = rows.len().saturating_sub(ROWS_MAX);
        rows.drain(..superfluous);
        let core = rows.iter().enumerate().map(|(id, row)| row.to_core(id));
        let core = std::sync::Arc::new(Revocations::new(core).with_plain_life_max(PLAIN_LIFE));
        let clocks = self.clocks();
        let cut = self.model.revoke(rows, clocks);
        for index in 0..self.servers.len() {
            let now = self.time();
            let closed =
                |world: &Self| world.servers[index].counters().closed.get(iceway::turn::CloseReason::Revoked);
            let before = closed(self);
            let mut judged = self.servers[index].set_revocations(now, std::sync::Arc::clone(&core));
            let mut ended = judged.ended;
            while !judged.is_done {
                judged = self.servers[index].go_on_revoking(now);
                ended += judged.ended;
            }
            self.drain(index);
            assert_eq!(closed(self) - before, ended as u64, "it says how many it ended");
        }
        for client in cut {
            assert!(!self.servers[self.shard(&client)].has_allocation(&client), "{client:?} is still served");
        }
    }

    /// Somebody who is there, by one thing or another that is known of them.
    fn some_row(&mut self) -> Row {
        let unix = self.unix();
        let mut row = Row {
            username: None,
            user: None,
            label: None,
            key: None,
            issued_before: unix.saturating_add_signed(self.chance.pick(&[-2_000, -100, 0, 0, 0, 5])),
            expires: unix + self.chance.pick(&[0, 60, 4_000, 100_000]),
            cut: self.chance.percent(70),
        };
        let mut names: Vec<String> = self.clients.iter().map(|client| client.username().to_owned()).collect();
        names.retain(|name| people::expires(name).is_some());
        names.push("0:nobody".to_owned());
        let name = names[self.chance.index(names.len())].clone();
        let Said { user, label, .. } = people::said(&name);
        match self.chance.below(8) {
            0 | 1 => row.username = Some(name),
            2 | 3 => row.user = Some(user),
            4 => row.label = label,
            5 => (row.user, row.label) = (Some(user), Some("desk".into())),
            6 => row.key = Some(self.chance.pick(&["active", "retiring"])),
            _ if self.chance.percent(70) => row.username = Some(format!("{name}x")),
            _ => {}
        }
        row
    }
}
