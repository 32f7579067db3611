//! What happens to connections when the process runs out of descriptors. On its own, because it lowers a limit of the
//! whole process.

#![allow(clippy::unwrap_used)]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::Command,
    time::Duration,
};

use iceway::{
    config::{Auth, Config, Http, Listen, Runtime, SecretBytes, SharedSecret},
    runtime::{AcceptFailure, Node, Start, StreamCounters},
    stun::{Class, Method, Writer},
};
use socket2::{Domain, Socket, Type};

/// How many descriptors the process has open.
fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Sets how many descriptors this process may have open.
fn set_limit(limit: usize) {
    let process = std::process::id().to_string();
    let status = Command::new("prlimit").args(["--pid", &process, &format!("--nofile={limit}:")]).status();
    assert!(status.unwrap().success());
}

async fn counters(node: &Node) -> StreamCounters {
    let mut sum = StreamCounters::default();
    for shard in node.handle().snapshot().await.shards.into_iter().flatten() {
        sum.merge(&shard.runtime.streams);
    }
    sum
}

/// Asks for the reflexive address, which is answered to anybody.
fn ask(mut stream: &TcpStream) -> bool {
    let mut request = [0; 20];
    let bytes = Writer::new(&mut request, Class::Request, Method::BINDING, [1; 12]).unwrap().finish();
    stream.write_all(&request[..bytes]).is_ok() && stream.read(&mut [0; 100]).is_ok_and(|bytes| bytes > 0)
}

#[test]
fn accepting_resumes_when_descriptors_are_free_again() {
    let config = Config {
        listen: Listen { udp: Vec::new(), tcp: vec!["127.0.0.1:0".parse().unwrap()], tls: Vec::new() },
        auth: Auth {
            secrets: vec![SharedSecret { id: "one".to_owned(), bytes: SecretBytes::new(b"secret") }],
            ..Auth::default()
        },
        runtime: Runtime { shards: 1, ..Runtime::default() },
        http: Http { listen: None, ..Http::default() },
        ..Config::default()
    };
    let node = Node::start(&config, Start::alone(&config).unwrap()).unwrap();
    let address: SocketAddr = node.listening()[0].address;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();

    let early = TcpStream::connect(address).unwrap();
    assert!(ask(&early));
    // Sockets of clients that need no descriptor later, and the server's limit just there.
    let late: Vec<_> = (0..4).map(|_| Socket::new(Domain::IPV4, Type::STREAM, None).unwrap()).collect();
    // The listing itself takes one.
    let limit = open_descriptors() - 1;
    set_limit(limit);
    for socket in &late {
        socket.connect(&address.into()).unwrap();
    }
    runtime.block_on(async {
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        while counters(&node).await.accept_failures.get(AcceptFailure::Descriptors) < 3 {
            looks.tick().await;
        }
    });
    assert!(ask(&early), "who is connected is served on");

    set_limit(limit + 100);
    for socket in late {
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert!(ask(&stream), "who waited is accepted");
    }
    assert_eq!(runtime.block_on(counters(&node)).accepted, 5);
    node.handle().shutdown();
    node.join();
}
