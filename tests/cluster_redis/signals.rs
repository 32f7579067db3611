//! Signaling relays of two nodes over a real Redis: in order, nothing forged, and nothing lost when Redis goes.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use iceway::{
    cluster::{Cluster, SignalHandler},
    signaling::{
        self, Client, ConnectionId, Frame, Limits, Next, NodeName, Now, Options, Output, Server, Setup,
        UserId, Written,
    },
};
use serde_json::{Value, json};

use crate::{
    forgery::{publish, refused, tap},
    grants::anybody,
    node::{TestNode, config, run, three, until},
    support_redis::Redis,
};

/// Writes down what it is told.
#[derive(Default)]
struct Log {
    nodes: Mutex<Vec<String>>,
    received: Mutex<Vec<(String, Vec<u8>)>>,
    buses: Mutex<Vec<bool>>,
}

impl SignalHandler for Log {
    fn node_up(&self, node: &str, run: u64) {
        assert_ne!(run, 0);
        self.nodes.lock().unwrap().push(format!("up {node}"));
    }

    fn node_down(&self, node: &str) {
        self.nodes.lock().unwrap().push(format!("down {node}"));
    }

    fn received(&self, node: &str, _run: u64, bytes: &[u8]) {
        self.received.lock().unwrap().push((node.to_owned(), bytes.to_vec()));
    }

    fn bus(&self, is_up: bool) {
        self.buses.lock().unwrap().push(is_up);
    }
}

impl Log {
    fn count(&self) -> usize {
        self.received.lock().unwrap().len()
    }
}

fn logs(nodes: &[TestNode]) -> Vec<Arc<Log>> {
    let log = |node: &TestNode| {
        let log = Arc::new(Log::default());
        node.cluster.connect_signaling(Arc::clone(&log) as _);
        log
    };
    nodes.iter().map(log).collect()
}

#[test]
fn packets_pass_in_order_and_only_those_of_nodes_do() {
    run(async {
        let redis = Redis::start();
        let nodes = three(&config(&redis.url())).await;
        let logs = logs(&nodes);
        for log in &logs {
            until(|| log.buses.lock().unwrap().last() == Some(&true), || "the bus is down".to_owned()).await;
            assert_eq!(log.nodes.lock().unwrap().len(), 2);
        }
        let url = redis.url();
        let tap = tokio::task::spawn_blocking(move || tap(&url, 12));
        tokio::time::sleep(Duration::from_millis(300)).await;
        let run_of_b = nodes[1].cluster.run();
        let begin = Instant::now();
        for number in 0..20_000_u32 {
            let packet = Bytes::copy_from_slice(&[&number.to_be_bytes()[..], &[7; 996]].concat());
            assert!(nodes[0].cluster.send_signal("b", run_of_b, packet));
        }
        until(|| logs[1].count() == 20_000, || logs[1].count().to_string()).await;
        let rate = 20_000.0 / begin.elapsed().as_secs_f64();
        eprintln!("{rate:.0} packets of 1 kB a second, merged, sealed, through Redis, opened, on one thread");
        for (number, (node, packet)) in logs[1].received.lock().unwrap().iter().enumerate() {
            assert_eq!(packet[..4], u32::try_from(number).unwrap().to_be_bytes());
            assert_eq!(node, "a");
        }
        let tapped = tap.await.unwrap();
        let signal = |(_, frame): &&(String, Vec<u8>)| frame.first() == Some(&2);
        let (channel, frame) = tapped.iter().find(signal).expect("a frame of a relay");
        assert_eq!(channel, "iceway:{bus-b}");
        assert!(!frame.windows(16).any(|window| window == [7; 16]), "what is said stands there unsealed");
        let before: Vec<u64> = nodes.iter().map(refused).collect();
        publish(&redis, channel, frame);
        for index in [1, 5, 20, frame.len() / 2, frame.len() - 1] {
            let mut changed = frame.clone();
            changed[index] ^= 1;
            publish(&redis, channel, &changed);
        }
        publish(&redis, "iceway:{bus-c}", frame);
        publish(&redis, "iceway:{bus}", frame);
        until(|| refused(&nodes[1]) >= before[1] + 5, || refused(&nodes[1]).to_string()).await;
        until(|| refused(&nodes[2]) >= before[2] + 2, || refused(&nodes[2]).to_string()).await;
        assert_eq!((logs[1].count(), logs[2].count()), (20_000, 0));
        // Another run of the node does not take what was said to the one before it.
        assert!(nodes[0].cluster.send_signal("b", run_of_b - 1, Bytes::from_static(b"old")));
        assert!(nodes[0].cluster.send_signal("b", run_of_b, Bytes::from_static(b"new")));
        until(|| logs[1].count() == 20_001, || logs[1].count().to_string()).await;
        assert_eq!(logs[1].received.lock().unwrap().last().unwrap().1, b"new");
    });
}

#[test]
fn relays_are_told_when_nodes_leave_and_when_nobody_can_be_reached() {
    run(async {
        let redis = Redis::start();
        let nodes = three(&config(&redis.url())).await;
        let logs = logs(&nodes);
        nodes[2].cluster.close().await.unwrap();
        let has_left = || logs[0].nodes.lock().unwrap().last().is_some_and(|last| last == "down c");
        until(has_left, || format!("{:?}", logs[0].nodes.lock().unwrap())).await;
        redis.kill();
        until(|| logs[0].buses.lock().unwrap().last() == Some(&false), || "it is up".to_owned()).await;
        // Longer than the lease: whoever cannot be heard is not missed.
        tokio::time::sleep(Duration::from_secs(17)).await;
        redis.restart();
        until(|| logs[0].buses.lock().unwrap().last() == Some(&true), || "it is down".to_owned()).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let of_b = || logs[0].nodes.lock().unwrap().iter().filter(|line| line.ends_with('b')).count();
        assert_eq!(of_b(), 1, "{:?}", logs[0].nodes.lock().unwrap());
    });
}

#[test]
fn a_redis_that_dies_and_comes_back_loses_no_message() {
    run(async {
        let redis = Redis::start();
        let config = config(&redis.url());
        let nodes = [TestNode::start_with("a", &config), TestNode::start_with("b", &config)];
        crate::node::together(&nodes).await;
        let [a, b] = [Relay::start(&nodes[0].cluster), Relay::start(&nodes[1].cluster)];
        let (alice, bob) = (a.connect(1, "alice"), b.connect(1, "bob"));
        until(|| a.knows("bob") && b.knows("alice"), || "they do not know each other".to_owned()).await;
        for number in 0..600 {
            a.send(1, &json!({"type": "message", "to": {"session": bob}, "data": number}));
            b.send(1, &json!({"type": "message", "to": {"session": alice}, "data": number}));
            match number {
                100 => redis.kill(),
                400 => redis.restart(),
                _ => {}
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for relay in [&a, &b] {
            until(|| relay.messages().len() >= 600, || relay.messages().len().to_string()).await;
            assert_eq!(relay.messages(), (0..600).collect::<Vec<u64>>(), "each once and in order");
        }
    });
}

#[test]
fn messages_between_nodes_flow_fast() {
    run(async {
        let redis = Redis::start();
        let config = config(&redis.url());
        let nodes = [TestNode::start_with("a", &config), TestNode::start_with("b", &config)];
        crate::node::together(&nodes).await;
        let [a, b] = [Relay::start(&nodes[0].cluster), Relay::start(&nodes[1].cluster)];
        let bob = b.connect(1, "bob");
        a.connect(1, "alice");
        until(|| a.knows("bob"), || "bob is not known".to_owned()).await;
        let text = json!({"type": "message", "to": {"session": bob}, "data": "x".repeat(900)}).to_string();
        let begin = Instant::now();
        let count = 20_000;
        for number in 0..count {
            a.send_text(1, &text);
            if number % 64 == 0 {
                tokio::task::yield_now().await;
            }
        }
        until(|| b.messages().len() >= count, || b.messages().len().to_string()).await;
        let rate = count as f64 / begin.elapsed().as_secs_f64();
        eprintln!("{rate:.0} messages of 1 kB a second from node to node, both on one thread, in this build");
        let link_bytes = a.sent.load(Ordering::Relaxed);
        eprintln!("{} bytes on the link for each", link_bytes / count as u64);
    });
}

/// A signaling relay of a node: what a driver does, without sockets.
struct Relay {
    core: Mutex<Core>,
    cluster: Cluster,
    begun: Instant,
    sent: AtomicU64,
}

struct Core {
    server: Server,
    inbox: VecDeque<Value>,
}

impl Relay {
    fn start(cluster: &Cluster) -> Arc<Self> {
        let limits = Limits { frames_per_second: 0, bytes_per_second: 0, ..Limits::default() };
        let setup = Setup {
            options: Options { limits, ring_frames: 50_000, ring_bytes: 64 << 20, ..Options::default() },
            node: NodeName(cluster.id().into()),
            run: cluster.run(),
            key: zeroize::Zeroizing::new([cluster.id().as_bytes()[0]; 32]),
        };
        let relay = Arc::new(Self {
            core: Mutex::new(Core { server: Server::new(setup), inbox: VecDeque::new() }),
            cluster: cluster.clone(),
            begun: Instant::now(),
            sent: AtomicU64::new(0),
        });
        cluster.connect_signaling(Arc::clone(&relay) as _);
        let timed = Arc::downgrade(&relay);
        tokio::spawn(async move {
            while let Some(relay) = timed.upgrade() {
                relay.with(Server::handle_timeout);
                drop(relay);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        relay
    }

    fn with<T>(&self, act: impl FnOnce(&mut Server, Now) -> T) -> T {
        let now = Now {
            monotonic: signaling::Instant::from_millis(self.begun.elapsed().as_millis() as u64),
            unix_millis: 1_790_000_000_000,
        };
        let core = &mut *self.core.lock().unwrap();
        let answer = act(&mut core.server, now);
        while let Some(output) = core.server.poll_output() {
            match output {
                Output::Wake(connection) => core.read(now, connection),
                Output::Event(event) => core.server.handle_recorded(now, event.number),
                Output::IceServers { .. } => {}
                Output::ToNode { node, run, bytes } => {
                    self.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                    // What cannot be carried comes again.
                    let _is_sent = self.cluster.send_signal(&node.0, run, bytes);
                }
            }
        }
        answer
    }

    /// A client comes; answers the name of its session.
    fn connect(&self, connection: u64, user: &str) -> String {
        let id = ConnectionId(connection);
        let client = Client { address: IpAddr::V4(Ipv4Addr::LOCALHOST) };
        self.with(|server, now| server.handle_open(now, id, client, None)).unwrap();
        self.send(connection, &json!({"id": "1", "type": "hello", "v": 1, "token": user}));
        let welcome = self.core.lock().unwrap().inbox.pop_front().expect("a welcome");
        welcome["session"].as_str().expect("a session").to_owned()
    }

    fn send(&self, connection: u64, frame: &Value) {
        self.send_text(connection, &frame.to_string());
    }

    fn send_text(&self, connection: u64, text: &str) {
        let id = ConnectionId(connection);
        self.with(|server, now| {
            let mut next = server.handle_frame(now, id, Frame::read(text), text.len());
            while let Next::Ask(ask) = next {
                next = server.handle_decision(now, id, anybody(&ask));
            }
        });
    }

    fn knows(&self, user: &str) -> bool {
        let user = UserId::parse(user).unwrap();
        self.with(|server, now| !server.sessions_of(now, &user).is_empty())
    }

    /// The messages that came.
    fn messages(&self) -> Vec<u64> {
        let core = self.core.lock().unwrap();
        let messages = core.inbox.iter().filter(|frame| frame["type"] == "message");
        messages.map(|frame| frame["data"].as_u64().unwrap_or_default()).collect()
    }
}

impl Core {
    fn read(&mut self, now: Now, connection: ConnectionId) {
        loop {
            let mut texts = Vec::new();
            let written = self.server.poll_connection(now, connection, &mut texts);
            let is_all = texts.is_empty();
            self.inbox.extend(texts.iter().map(|text| serde_json::from_str::<Value>(text).unwrap()));
            match written {
                Written::Open => {}
                Written::Ping => self.server.handle_alive(now, connection),
                Written::Close(code) => panic!("closed with {code:?}"),
            }
            if is_all {
                return;
            }
        }
    }
}

impl SignalHandler for Relay {
    fn node_up(&self, node: &str, run: u64) {
        self.with(|server, now| server.handle_node_up(now, &NodeName(node.into()), run));
    }

    fn node_down(&self, node: &str) {
        self.with(|server, now| server.handle_node_down(now, &NodeName(node.into())));
    }

    fn received(&self, node: &str, run: u64, bytes: &[u8]) {
        self.with(|server, now| server.handle_link(now, &NodeName(node.into()), run, bytes));
    }

    fn bus(&self, is_up: bool) {
        self.with(|server, now| server.handle_bus(now, is_up));
    }
}
