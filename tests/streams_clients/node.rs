//! Nodes to test, certificates for them, and peers to relay to.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use iceway::{
    config::{
        Auth, Config, Http, Listen, Peers, Relay, Runtime, SecretBytes, StaticUser, StaticUserSecret, Tls,
    },
    runtime::{Node, NodeHandle, Start, StreamCounters},
};
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::CertificateDer};
use tokio::net::UdpSocket;

pub(crate) const USER: &str = "alice";
pub(crate) const PASSWORD: &str = "wonderland";
pub(crate) const REALM: &str = "iceway.test";

/// Nothing here takes this long unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// How often counters are looked at while something is waited for.
const LOOK: Duration = Duration::from_millis(5);

/// A node on loopback, with two shards, that ends with the test.
pub(crate) struct TestNode {
    node: Option<Node>,
    authority: Authority,
}

impl TestNode {
    /// A node that lets loopback be a peer, with what `change` makes of its configuration.
    pub(crate) fn start(change: impl FnOnce(&mut Config)) -> Self {
        let authority = Authority::new();
        authority.issue(1);
        let mut config = Config {
            listen: Listen {
                udp: Vec::new(),
                tcp: vec!["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()],
                tls: Vec::new(),
            },
            tls: authority.files(),
            auth: Auth {
                realm: REALM.to_owned(),
                users: vec![StaticUser {
                    name: USER.to_owned(),
                    secret: StaticUserSecret::Password(SecretBytes::new(PASSWORD.as_bytes())),
                }],
                ..Auth::default()
            },
            peers: Peers {
                allow: vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
                deny: Vec::new(),
            },
            relay: Relay { port_min: 10_000, port_max: 19_999, ..Relay::default() },
            runtime: Runtime { shards: 2, ..Runtime::default() },
            http: Http { listen: None, ..Http::default() },
            ..Config::default()
        };
        change(&mut config);
        Self { node: Some(Node::start(&config, Start::alone(&config).unwrap()).unwrap()), authority }
    }

    pub(crate) fn handle(&self) -> NodeHandle {
        self.node.as_ref().unwrap().handle()
    }

    /// Where it listens with IPv4.
    pub(crate) fn ipv4(&self) -> SocketAddr {
        self.address(SocketAddr::is_ipv4)
    }

    /// Where it listens with IPv6.
    pub(crate) fn ipv6(&self) -> SocketAddr {
        self.address(SocketAddr::is_ipv6)
    }

    fn address(&self, is_wanted: fn(&SocketAddr) -> bool) -> SocketAddr {
        self.node.as_ref().unwrap().listening().iter().map(|one| one.address).find(is_wanted).unwrap()
    }

    /// Who issues its certificates.
    pub(crate) const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The counters of its connections, all shards together.
    pub(crate) async fn streams(&self) -> StreamCounters {
        loop {
            let mut sum = StreamCounters::default();
            let snapshot = self.handle().snapshot().await;
            for shard in snapshot.shards.iter().flatten() {
                sum.merge(&shard.runtime.streams);
            }
            // On a machine that is busy with other things a shard may not answer in time.
            if snapshot.shards.iter().all(Option::is_some) {
                return sum;
            }
        }
    }

    /// Waits until `condition` holds of them, and returns them.
    pub(crate) async fn until(&self, condition: impl Fn(&StreamCounters) -> bool) -> StreamCounters {
        let mut looks = tokio::time::interval(LOOK);
        loop {
            let counters = self.streams().await;
            if condition(&counters) {
                return counters;
            }
            looks.tick().await;
        }
    }

    /// Waits until there are as many allocations.
    pub(crate) async fn until_allocations(&self, count: usize) {
        let mut looks = tokio::time::interval(LOOK);
        while self.handle().allocations().await != count {
            looks.tick().await;
        }
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        if let Some(node) = self.node.take() {
            node.handle().shutdown();
            node.join();
        }
    }
}

/// A certificate authority that writes what it issues to a directory of its own.
pub(crate) struct Authority {
    issuer: rcgen::CertifiedIssuer<'static, rcgen::KeyPair>,
    directory: PathBuf,
}

impl Authority {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("iceway-streams-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        let mut parameters = rcgen::CertificateParams::default();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        Self { issuer: rcgen::CertifiedIssuer::self_signed(parameters, key).unwrap(), directory }
    }

    /// The configuration that names the files.
    pub(crate) fn files(&self) -> Tls {
        Tls { certificate: Some(self.certificate()), private_key: Some(self.directory.join("key.pem")) }
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.directory.join("certificate.pem")
    }

    /// Issues a certificate for `localhost` and puts it and its key in the place of those before.
    pub(crate) fn issue(&self, serial: u64) -> CertificateDer<'static> {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        parameters.serial_number = Some(serial.into());
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        self.replace(&self.certificate(), &certificate.pem());
        self.replace(&self.directory.join("key.pem"), &key.serialize_pem());
        certificate.der().clone()
    }

    /// Puts a new file in the place of an old one.
    pub(crate) fn replace(&self, path: &Path, contents: &str) {
        let new = self.directory.join("new");
        fs::write(&new, contents).unwrap();
        fs::rename(new, path).unwrap();
    }

    /// What a client trusts that trusts this authority.
    pub(crate) fn client_config(&self) -> ClientConfig {
        self.client_config_for(rustls::DEFAULT_VERSIONS)
    }

    /// The same with some versions of TLS only.
    pub(crate) fn client_config_for(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        // What is left of a directory in the system's place for such things hurts nobody.
        fs::remove_dir_all(&self.directory).ok();
    }
}

/// A peer's socket with room for what a test sends it at once.
pub(crate) async fn peer(ip: &str) -> UdpSocket {
    let socket = UdpSocket::bind((ip, 0)).await.unwrap();
    socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20).unwrap();
    socket
}

/// The next datagram at a peer, and who sent it.
pub(crate) async fn receive(peer: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 65_536];
    let (bytes, from) = peer.recv_from(&mut buffer).await.unwrap();
    buffer.truncate(bytes);
    (buffer, from)
}

/// Runs a test, bounded in time.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.expect("the test hangs") });
}
