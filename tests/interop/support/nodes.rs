//! Three nodes and their Redis on one machine.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::server::TestDirectory;
use super::{Client, Server, Setup};
use crate::support_redis::{Options, Redis};

/// Nodes find one another with their first heartbeats.
const MEET_LIMIT: Duration = Duration::from_secs(20);

/// A cluster of three; `nodes[0]` is called `n1`.
pub(crate) struct Cluster<R = Redis> {
    pub(crate) nodes: Vec<Server>,
    pub(crate) redis: R,
    directory: TestDirectory,
}

/// A credential as the API issued it.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    pub(crate) username: String,
    pub(crate) password: String,
    /// The whole answer.
    pub(crate) answer: Value,
}

impl Cluster {
    /// Three nodes that know one another. Peers may be on loopback addresses.
    pub(crate) fn start() -> Self {
        Self::start_with(Options::default(), |setup| setup)
    }

    /// The same with more configuration for Redis and for every node.
    pub(crate) fn start_with(options: Options, change: impl Fn(Setup) -> Setup) -> Self {
        let redis = Redis::start_with(options);
        let url = redis.url();
        Self::start_on(redis, &url, change)
    }
}

impl<R> Cluster<R> {
    /// The same with a Redis of another layout, by its URL.
    pub(crate) fn start_on(redis: R, url: &str, change: impl Fn(Setup) -> Setup) -> Self {
        let directory = TestDirectory::new("cluster");
        let cluster_key = cluster_key(&directory);
        let nodes = (1..=3_u8).map(|number| {
            let ip = Ipv4Addr::new(127, 0, 0, number);
            let setup = Setup::default()
                .on(ip)
                .loopback_peers()
                .with("node.id", format!("\"n{number}\""))
                .with("node.region", "\"here\"")
                .with("redis.url", format!("{url:?}"))
                .with("redis.cluster_key_file", format!("{cluster_key:?}"))
                .with("store.path", format!("{:?}", store_path(&directory, number.into())));
            Server::start(change(setup))
        });
        let cluster = Self { nodes: nodes.collect(), redis, directory };
        until("every node knows the others", MEET_LIMIT, || {
            (0..3).all(|at| cluster.known_to(at).len() == 3 && cluster.is_connected(at))
        });
        cluster
    }

    /// Starts a node again that has lost its file.
    pub(crate) fn restart_without_file(&mut self, at: usize) {
        self.nodes[at].kill();
        std::fs::remove_file(store_path(&self.directory, at + 1)).unwrap();
        self.nodes[at].restart();
    }

    /// Has a node issue a credential by the native form.
    pub(crate) fn issue(&self, at: usize, request: Value) -> Issued {
        Issued::read(&self.nodes[at].post("/v1/turn/credentials", &request).expect(201).json())
    }

    /// A client of a node with the credential.
    pub(crate) fn client(&self, at: usize, credential: &Issued) -> Client {
        credential.client(&self.nodes[at])
    }

    /// The nodes that a node lists, with their states.
    pub(crate) fn known_to(&self, at: usize) -> Vec<(String, String)> {
        let answer = self.nodes[at].get("/v1/nodes").expect(200).json();
        let list = answer["nodes"].as_array().unwrap_or_else(|| panic!("{answer}"));
        let text = |node: &Value, field: &str| node[field].as_str().unwrap_or_default().to_owned();
        list.iter().map(|node| (text(node, "id"), text(node, "state"))).collect()
    }

    /// Whether a node can reach the others.
    pub(crate) fn is_connected(&self, at: usize) -> bool {
        self.nodes[at].metric("iceway_cluster_connected", &[]) == 1.0
    }

    /// Waits until every node in `nodes` says that it is, or is not, degraded.
    pub(crate) fn wait_until_connected(&self, is_connected: bool, limit: Duration) {
        until(&format!("connected: {is_connected}"), limit, || {
            (0..3).all(|at| {
                let page = self.nodes[at].get("/readyz").expect(200).json();
                let is_degraded = page["status"] == "degraded";
                is_degraded != is_connected && self.is_connected(at) == is_connected
            })
        });
    }
}

impl Issued {
    /// Takes the credential out of an answer with `iceServers`.
    #[track_caller]
    pub(crate) fn read(answer: &Value) -> Self {
        let servers = &answer["iceServers"];
        let servers = servers.as_array().cloned().unwrap_or_else(|| vec![servers.clone()]);
        let server = servers.iter().find(|server| server["username"].is_string());
        let server = server.unwrap_or_else(|| panic!("no credential in {answer}"));
        let text = |field: &str| server[field].as_str().unwrap().to_owned();
        Self { username: text("username"), password: text("credential"), answer: answer.clone() }
    }

    /// All URLs of the answer.
    pub(crate) fn urls(&self) -> Vec<String> {
        let mut found = Vec::new();
        collect_urls(&self.answer["iceServers"], &mut found);
        found
    }

    /// A client of `server` with this credential.
    pub(crate) fn client(&self, server: &Server) -> Client {
        Client::new(server.address()).with_credential(self.username.clone(), self.password.clone())
    }

    /// Allocates at `server` once.
    #[track_caller]
    pub(crate) fn allocates_at(&self, server: &Server) {
        let mut client = self.client(server);
        client.allocate().unwrap_or_else(|code| panic!("{code} for {:?}", self.username));
        client.refresh(0).unwrap();
    }
}

fn collect_urls(servers: &Value, found: &mut Vec<String>) {
    match servers {
        Value::String(url) => found.push(url.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect_urls(item, found)),
        Value::Object(server) => collect_urls(&server["urls"], found),
        Value::Null | Value::Bool(_) | Value::Number(_) => panic!("not an ICE server: {servers}"),
    }
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn until(what: &str, limit: Duration, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn store_path(directory: &TestDirectory, number: usize) -> PathBuf {
    directory.path().join(format!("n{number}.redb"))
}

/// What nodes seal their messages with.
fn cluster_key(directory: &TestDirectory) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let file = directory.path().join("cluster-key");
    std::fs::write(&file, "VGhpcnR5LXR3by1ieXRlcy1vZi1hLWNsdXN0ZXIta2V5IQ==\n").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    file
}
