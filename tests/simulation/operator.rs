//! What operators see and end: lists of allocations, one of them by its id, secrets that change.

use std::{collections::BTreeSet, sync::Arc};

use iceway::turn::{AllocationId, FiveTuple, Identity, ListQuery, Listed};

use crate::{
    people::{self, Said},
    world::World,
};

impl World {
    /// An operator looks at all allocations of a server, and ends one of them.
    pub(crate) fn close_one(&mut self) {
        let index = self.chance.index(self.servers.len());
        let listed = self.list(index);
        let ids: BTreeSet<AllocationId> = listed.iter().map(|listed| listed.id).collect();
        assert_eq!(ids.len(), listed.len(), "an allocation is listed twice");
        for (client, live) in self.model.allocations.iter().filter(|(_, live)| live.is_sure(self.now)) {
            let is_listed = listed.iter().any(|listed| listed.five_tuple == *client);
            assert!(is_listed || self.shard(client) != index, "{client:?} is not listed: {live:?}");
        }
        for listed in &listed {
            self.assert_listed(listed);
        }
        let now = self.time();
        let gone: Vec<AllocationId> =
            self.closed_ids.iter().filter(|(server, _)| *server == index).map(|(_, id)| *id).collect();
        for id in gone {
            assert!(!self.servers[index].close_allocation(now, id), "{id} is used again");
        }
        if listed.is_empty() {
            return;
        }
        let Listed { id, five_tuple, .. } = listed[self.chance.index(listed.len())];
        if !self.servers[index].has_allocation(&five_tuple) {
            return;
        }
        self.to_be_closed = Some(five_tuple);
        assert!(self.servers[index].close_allocation(now, id));
        self.drain(index);
        assert_eq!(self.to_be_closed, None, "it is told");
        assert!(!self.servers[index].has_allocation(&five_tuple));
    }

    fn list(&mut self, index: usize) -> Vec<Listed> {
        let mut all = Vec::new();
        let mut query = ListQuery { limit: 1 + self.chance.index(5), ..ListQuery::default() };
        loop {
            let page = self.servers[index].list(self.time(), &query);
            assert!(page.allocations.len() <= query.limit);
            all.extend(page.allocations);
            query.after = page.next;
            if page.next.is_none() {
                return all;
            }
        }
    }

    fn assert_listed(&self, listed: &Listed) {
        let live = self.model.allocations.get(&listed.five_tuple).expect("what is listed is there");
        assert_eq!(*listed.username, *live.username);
        self.assert_identity(&listed.identity, &listed.username);
        let key = listed.identity.key_id.as_ref().map(ToString::to_string);
        let is_known = key.as_deref().map_or(live.keys.is_empty(), |key| live.keys.contains(&key));
        assert!(is_known, "{key:?} instead of {:?}", live.keys);
        assert!(listed.relayed.iter().all(|address| live.answered.contains(address)));
        let traffic = (listed.to_peers.datagrams, listed.to_client.datagrams);
        assert_eq!(traffic, (live.to_peer_datagrams, live.to_client_datagrams));
    }

    pub(crate) fn assert_identity(&self, identity: &Identity, username: &str) {
        let Said { user, label, .. } = people::said(username);
        assert_eq!(*identity.user, *user);
        assert_eq!(identity.label.as_deref(), label.as_deref());
        assert_eq!(identity.key_id.is_some(), people::expires(username).is_some());
    }

    /// A secret and a user come or go, and nothing else changes.
    pub(crate) fn change_secrets(&mut self) {
        self.directory.is_reduced = self.chance.percent(50);
        let directory = Arc::new(people::directory(self.directory));
        for server in &mut self.servers {
            server.set_directory(Arc::clone(&directory));
        }
    }

    pub(crate) fn is_to_be_closed(&mut self, client: FiveTuple) -> bool {
        self.to_be_closed.take_if(|wanted| *wanted == client).is_some()
    }
}
