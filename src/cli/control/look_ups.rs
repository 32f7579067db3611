//! Users that only a shared database knows.

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::sync::mpsc;

use crate::{
    cluster::Cluster,
    runtime::{LookUp, NodeHandle},
    turn::UserKey,
};

/// Questions under way; more wait in their channel.
const AT_ONCE_MAX: usize = 128;

/// Answers what shards ask, until there is nobody to ask any more.
pub(super) async fn answer(node: &NodeHandle, cluster: &Cluster, mut asked: mpsc::Receiver<LookUp>) {
    let mut under_way = FuturesUnordered::new();
    let mut is_open = true;
    while is_open || !under_way.is_empty() {
        tokio::select! {
            look_up = asked.recv(), if is_open && under_way.len() < AT_ONCE_MAX => match look_up {
                Some(look_up) => under_way.push(find(cluster, look_up)),
                None => is_open = false,
            },
            Some((look_up, key)) = under_way.next() => node.found(look_up.shard, look_up.id, key),
        }
    }
}

/// The key is bounded in time by the cluster.
async fn find(cluster: &Cluster, look_up: LookUp) -> (LookUp, Option<UserKey>) {
    let realm = cluster.directory().realm().to_owned();
    let key = cluster.find_user(&realm, &look_up.username).await;
    (look_up, key.map(UserKey::Md5))
}
