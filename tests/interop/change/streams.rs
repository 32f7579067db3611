//! New clients of a node that drains follow to the other one by every transport and address family, and over TLS find the
//! certificate they are told to expect.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::Path,
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::Value;
use stun::{
    addr::MappedAddress,
    attributes::{ATTR_NONCE, ATTR_REALM, ATTR_USERNAME, AttrType},
    fingerprint::FINGERPRINT,
    integrity::MessageIntegrity,
    message::{CLASS_REQUEST, METHOD_ALLOCATE, Message, MessageType, Setter},
};

use super::{
    address,
    balancer::Balancer,
    issue, json_of,
    scene::{ALTERNATE_SERVER, Scene, usual},
};
use crate::signal_support::{Node, Setup};
use crate::support::{
    Authority,
    client::{Attribute, REQUESTED_TRANSPORT, UDP, error_code, message, parse},
    ports::free_port,
    server::TestDirectory,
};

const ALTERNATE_DOMAIN: u16 = 0x8003;
const NAMES: [&str; 2] = ["n1.turn.test", "n2.turn.test"];
const PATIENCE: Duration = Duration::from_secs(10);
const TRANSPORTS: [&str; 3] = ["udp", "tcp", "tls"];

#[tokio::test]
async fn every_transport_and_family_is_led_to_its_like_and_over_tls_by_name() {
    let directory = TestDirectory::new("alternates");
    let authority = Authority::new(directory.path());
    let places = NAMES.map(|_| Place::take());
    let setups = [0, 1].map(|which| places[which].setup(NAMES[which], &authority, directory.path()));
    let scene = Scene::with("streams", setups).await;
    let [draining, _] = &scene.nodes;
    let caller = Login::of(draining);
    json_of(draining.post("/v1/nodes/n1/drain", &Value::Null), 200);

    for transport in TRANSPORTS {
        for (from, to) in places[0].at(transport).into_iter().zip(places[1].at(transport)) {
            let mut line = Line::open(transport, from, NAMES[0], &authority).unwrap();
            let answer = line.allocate(&caller);
            assert_eq!(error_code(&answer), Some(300), "{transport} {from}");
            let mut alternate = MappedAddress::default();
            alternate.get_from_as(&answer, AttrType(ALTERNATE_SERVER)).unwrap();
            assert_eq!(SocketAddr::new(alternate.ip, alternate.port), to, "{transport} {from}");
            let domain = answer.get(AttrType(ALTERNATE_DOMAIN)).ok();
            let domain = domain.map(|domain| String::from_utf8(domain).unwrap());
            assert_eq!(domain.as_deref(), (transport == "tls").then_some(NAMES[1]));

            let name = domain.as_deref().unwrap_or(NAMES[0]);
            let mut line = Line::open(transport, to, name, &authority).unwrap();
            let answer = line.allocate(&caller);
            assert_eq!(error_code(&answer), None, "{transport} {to}");
        }
    }
    // Without the name a client would have expected the certificate of the first one.
    let strict = Line::open("tls", places[1].at("tls")[0], NAMES[0], &authority);
    assert!(strict.is_err_and(|error| error.kind() == std::io::ErrorKind::InvalidData));
    assert_eq!(draining.metric("iceway_drain_redirected_total", &[]), 6.0);
    assert_eq!(scene.nodes[1].metric("iceway_allocations_created_total", &[]), 6.0);
}

#[tokio::test]
async fn behind_one_load_balancer_clients_are_refused_until_it_has_noticed_unless_nodes_are_reached_directly()
{
    let front = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = front.local_addr().unwrap();
    let uris = format!(r#"["turn:{at}?transport=tcp"]"#);
    let tcp = usual().with("listen.tcp", r#"["127.0.0.1:0"]"#);
    let shared = tcp.clone().with("node.uris", uris).with("runtime.drain_redirect", false);
    let (scene, direct) = tokio::join!(
        Scene::with("balanced", [shared.clone(), shared]),
        Scene::with("direct", [tcp.clone(), tcp])
    );
    let [first, second] = &scene.nodes;
    let _balancer =
        Balancer::on(front, scene.nodes.iter().map(|node| (node.http, address(node, "tcp"))).collect());
    let caller = Login::of(first);
    let mut early = Line::stream(at);
    assert_eq!(error_code(&early.allocate(&caller)), None);
    let mut open = Line::stream(at);
    assert_eq!(
        error_code(&open.ask(&message(MessageType::new(METHOD_ALLOCATE, CLASS_REQUEST), &wanted()))),
        Some(401)
    );

    let begun = json_of(first.post("/v1/nodes/n1/drain", &Value::Null), 200);
    assert_eq!(begun["takers"], Value::Null, "clients are sent nowhere: {begun}");
    // Whoever had been sent to it before it drained is refused there, and served when it comes again.
    assert_eq!(error_code(&open.allocate(&caller)), Some(508));
    assert_eq!(error_code(&Line::stream(at).allocate(&caller)), None);
    let made = |node: &Node| node.metric("iceway_allocations_created_total", &[]);
    assert_eq!((made(first), made(second)), (1.0, 1.0));
    assert_eq!(first.metric("iceway_drain_redirected_total", &[]), 0.0);

    // With the usual policy, the same client is led past the balancer.
    let [first, second] = &direct.nodes;
    json_of(first.post("/v1/nodes/n1/drain", &Value::Null), 200);
    let caller = Login::of(second);
    let answer = Line::stream(address(first, "tcp")).allocate(&caller);
    let mut alternate = MappedAddress::default();
    alternate.get_from_as(&answer, AttrType(ALTERNATE_SERVER)).unwrap();
    assert_eq!(SocketAddr::new(alternate.ip, alternate.port), address(second, "tcp"));
}

/// The ports of a node, the same on 127.0.0.1 and ::1.
struct Place {
    port: u16,
    tls_port: u16,
}

impl Place {
    fn take() -> Self {
        Self { port: free_port(), tls_port: free_port() }
    }

    /// Where it listens: IPv4, then IPv6.
    fn at(&self, transport: &str) -> [SocketAddr; 2] {
        let port = if transport == "tls" { self.tls_port } else { self.port };
        [([127, 0, 0, 1], port).into(), ([0, 0, 0, 0, 0, 0, 0, 1], port).into()]
    }

    /// A node here whose certificate is for this name alone.
    fn setup(&self, name: &str, authority: &Authority, directory: &Path) -> Setup {
        authority.issue_for(name, false);
        let file = |from: &Path, kind: &str| {
            let to = directory.join(format!("{name}.{kind}"));
            fs::copy(from, &to).unwrap();
            format!("{to:?}")
        };
        let (certificate, key) =
            (file(&authority.certificate_path(), "pem"), file(&authority.key_path(), "key"));
        let mut uris = vec![format!("turns:{name}:{}?transport=tcp", self.tls_port)];
        let mut setup = usual().with("tls.certificate", certificate).with("tls.private_key", key);
        for transport in TRANSPORTS {
            let places = self.at(transport).map(|address| format!("{:?}", address.to_string()));
            setup = setup.with(&format!("listen.{transport}"), format!("[{}]", places.join(", ")));
            let (scheme, query) = if transport == "tls" { ("turns", "tcp") } else { ("turn", transport) };
            uris.extend(self.at(transport).map(|address| format!("{scheme}:{address}?transport={query}")));
        }
        let uris: Vec<String> = uris.iter().map(|uri| format!("{uri:?}")).collect();
        setup.with("node.uris", format!("[{}]", uris.join(", ")))
    }
}

/// A credential.
struct Login {
    username: String,
    password: String,
}

impl Login {
    fn of(node: &Node) -> Self {
        let issued = issue(node);
        let servers = issued["iceServers"].as_array().unwrap();
        let server = servers.iter().find(|server| server["username"].is_string()).unwrap();
        let text = |field: &str| server[field].as_str().unwrap().to_owned();
        Self { username: text("username"), password: text("credential") }
    }
}

/// A client's way to a node.
enum Line {
    Datagrams(UdpSocket),
    Stream(Box<dyn Connection>),
}

trait Connection: Read + Write {}
impl<T: Read + Write> Connection for T {}

impl Line {
    /// Over TLS the certificate must be for this name.
    fn open(transport: &str, to: SocketAddr, name: &str, authority: &Authority) -> std::io::Result<Self> {
        match transport {
            "udp" => {
                let socket = UdpSocket::bind(SocketAddr::new(to.ip(), 0)).unwrap();
                socket.connect(to).unwrap();
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
                Ok(Self::Datagrams(socket))
            }
            "tcp" => Ok(Self::stream(to)),
            _ => {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from_pem_file(authority.path()).unwrap()).unwrap();
                let provider = Arc::new(rustls::crypto::ring::default_provider());
                let config = ClientConfig::builder_with_provider(provider);
                let config = config.with_safe_default_protocol_versions().unwrap();
                let config = config.with_root_certificates(roots).with_no_client_auth();
                let name = ServerName::try_from(name.to_owned()).unwrap();
                let session = ClientConnection::new(Arc::new(config), name).unwrap();
                let mut stream = StreamOwned::new(session, connect(to));
                while stream.conn.is_handshaking() {
                    stream.conn.complete_io(&mut stream.sock)?;
                }
                Ok(Self::Stream(Box::new(stream)))
            }
        }
    }

    fn stream(to: SocketAddr) -> Self {
        Self::Stream(Box::new(connect(to)))
    }

    /// The answer to an Allocate, once the client has said who it is.
    fn allocate(&mut self, login: &Login) -> Message {
        let kind = MessageType::new(METHOD_ALLOCATE, CLASS_REQUEST);
        let challenge = self.ask(&message(kind, &wanted()));
        assert_eq!(error_code(&challenge), Some(401));
        let realm = challenge.get(ATTR_REALM).unwrap();
        let mut request = message(kind, &wanted());
        request.add(ATTR_USERNAME, login.username.as_bytes());
        request.add(ATTR_REALM, &realm);
        request.add(ATTR_NONCE, &challenge.get(ATTR_NONCE).unwrap());
        let (username, password) = (login.username.clone(), login.password.clone());
        let realm = String::from_utf8(realm).unwrap();
        let key = MessageIntegrity::new_long_term_integrity(username, realm, password);
        key.add_to(&mut request).unwrap();
        FINGERPRINT.add_to(&mut request).unwrap();
        self.ask(&request)
    }

    fn ask(&mut self, request: &Message) -> Message {
        let mut answer = vec![0; 2048];
        match self {
            Self::Datagrams(socket) => {
                socket.send(&request.raw).unwrap();
                let length = socket.recv(&mut answer).unwrap();
                answer.truncate(length);
            }
            Self::Stream(stream) => {
                stream.write_all(&request.raw).unwrap();
                stream.flush().unwrap();
                stream.read_exact(&mut answer[..20]).unwrap();
                answer.truncate(20 + usize::from(u16::from_be_bytes([answer[2], answer[3]])));
                stream.read_exact(&mut answer[20..]).unwrap();
            }
        }
        parse(&answer)
    }
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn wanted() -> [Attribute; 1] {
    [Attribute::Raw(REQUESTED_TRANSPORT, UDP.to_vec())]
}
