//! What an idle connection costs in process memory. On its own, because it measures the whole process.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    sync::Arc,
};

use iceway::{
    config::{Auth, Config, Http, Listen, Runtime, SecretBytes, SharedSecret, Streams, Tls},
    runtime::{Node, Start},
    stun::{Class, Method, Writer},
};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::ring};

/// How many connections are opened of each kind.
const CONNECTIONS: usize = 500;

/// Asks for the reflexive address and reads the answer, so that buffers were needed once in both directions.
fn talk(mut stream: impl Read + Write) {
    let mut request = [0; 20];
    let bytes = Writer::new(&mut request, Class::Request, Method::BINDING, [1; 12]).unwrap().finish();
    stream.write_all(&request[..bytes]).unwrap();
    assert!(stream.read(&mut [0; 100]).unwrap() > 0);
}

/// Opens connections that stay open; the client's side of each costs a descriptor and no memory.
fn open(address: SocketAddr, config: Option<&Arc<ClientConfig>>, count: usize) -> Vec<TcpStream> {
    let connect = |_| {
        let stream = TcpStream::connect(address).unwrap();
        match config {
            None => talk(&stream),
            Some(config) => {
                let session =
                    ClientConnection::new(Arc::clone(config), "localhost".try_into().unwrap()).unwrap();
                talk(StreamOwned::new(session, &stream));
            }
        }
        stream
    };
    (0..count).map(connect).collect()
}

fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// How much memory each of many connections takes.
fn cost(address: SocketAddr, config: Option<&Arc<ClientConfig>>, held: &mut Vec<TcpStream>) -> usize {
    // The first ones also touch what all share.
    held.extend(open(address, config, 100));
    let before = resident_bytes();
    held.extend(open(address, config, CONNECTIONS));
    resident_bytes().saturating_sub(before) / CONNECTIONS
}

/// A certificate for `localhost` on disk, and a client that trusts it.
fn certificate() -> (PathBuf, Tls, Arc<ClientConfig>) {
    let directory = std::env::temp_dir().join(format!("iceway-memory-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let files =
        Tls { certificate: Some(directory.join("c.pem")), private_key: Some(directory.join("k.pem")) };
    let key = rcgen::KeyPair::generate().unwrap();
    let issued = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    fs::write(files.certificate.as_ref().unwrap(), issued.pem()).unwrap();
    fs::write(files.private_key.as_ref().unwrap(), key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(issued.der().clone()).unwrap();
    let mut client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.resumption = rustls::client::Resumption::disabled();
    (directory, files, Arc::new(client))
}

#[test]
fn idle_connections_are_small() {
    let (directory, tls, client) = certificate();
    let config = Config {
        listen: Listen { udp: Vec::new(), tcp: vec!["127.0.0.1:0".parse().unwrap()], tls: Vec::new() },
        tls,
        auth: Auth {
            secrets: vec![SharedSecret { id: "one".to_owned(), bytes: SecretBytes::new(b"secret") }],
            ..Auth::default()
        },
        streams: Streams { connections_per_address: 0, ..Streams::default() },
        runtime: Runtime { shards: 1, ..Runtime::default() },
        http: Http { listen: None, ..Http::default() },
        ..Config::default()
    };
    let node = Node::start(&config, Start::alone(&config).unwrap()).unwrap();
    let address = node.listening()[0].address;
    let mut held = Vec::new();
    let plain = cost(address, None, &mut held);
    let tls = cost(address, Some(&client), &mut held);
    println!("per idle connection: {plain} bytes with TCP, {tls} bytes with TLS");
    assert!(plain <= 3 * 1024, "{plain} bytes for each TCP connection");
    assert!(tls <= 8 * 1024, "{tls} bytes for each TLS connection");
    drop(held);
    node.handle().shutdown();
    node.join();
    fs::remove_dir_all(directory).unwrap();
}
