//! Connections over loopback with a relay that only writes down what it is told.

use std::{
    cell::RefCell,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use rustls::pki_types::{CertificateDer, ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
    task::LocalSet,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    StreamAdmission, StreamClose, StreamCounters, StreamQueue, StreamRefusal, StreamRelay, StreamSetup,
    StreamState, Streams, serve_streams,
};
use crate::{
    config,
    runtime::tls::{
        TlsStore,
        fixture::{Directory, Issued},
    },
    stun::channel_data_header,
    turn::{FiveTuple, ListenerId, Transport},
};

/// Nothing here takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(40);

/// Writes down what it is told and, if asked to, answers each message with itself.
#[derive(Debug, Default)]
struct Recorder {
    messages: Vec<Vec<u8>>,
    opened: Vec<(FiveTuple, Rc<StreamQueue>)>,
    closed: Vec<FiveTuple>,
    allocated: bool,
    echo: bool,
    happened: Rc<Notify>,
}

impl StreamRelay for Recorder {
    fn client_datagram(&mut self, from: FiveTuple, datagram: &[u8]) {
        self.messages.push(datagram.to_vec());
        if self.echo
            && let Some((_, queue)) = self.opened.iter().rev().find(|(five_tuple, _)| *five_tuple == from)
        {
            let padded = [datagram, &[0; 3][..crate::stun::padding(datagram.len())]].concat();
            queue.push_answer(&padded).unwrap();
        }
        self.happened.notify_one();
    }

    fn stream_opened(&mut self, five_tuple: FiveTuple, queue: Rc<StreamQueue>) {
        self.opened.push((five_tuple, queue));
        self.happened.notify_one();
    }

    fn stream_closed(&mut self, five_tuple: FiveTuple) {
        self.closed.push(five_tuple);
        self.happened.notify_one();
    }

    fn has_allocation(&self, _five_tuple: &FiveTuple) -> bool {
        self.allocated
    }
}

struct Harness {
    relay: Rc<RefCell<Recorder>>,
    streams: Streams,
    address: SocketAddr,
    happened: Rc<Notify>,
    authority: Option<CertificateDer<'static>>,
    _directory: Directory,
}

impl Harness {
    fn counters(&self) -> StreamCounters {
        self.streams.counters()
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn connect_tls(&self) -> TlsStream<TcpStream> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.authority.clone().unwrap()).unwrap();
        let config =
            rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, self.connect().await).await.unwrap()
    }

    /// Waits until `condition` holds of what the relay was told.
    async fn until(&self, condition: impl Fn(&Recorder) -> bool) {
        while !condition(&self.relay.borrow()) {
            self.happened.notified().await;
        }
    }

    /// Waits until a connection has ended for `reason`: its end is the last thing that happens to it.
    async fn until_closed(&self, reason: StreamClose) {
        while self.counters().closed.get(reason) == 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// Runs `test` with a shard's streams.
fn run(limits: config::Streams, with_tls: bool, test: impl AsyncFnOnce(Harness)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let directory = Directory::new();
        let (authority, tls) = if with_tls {
            let authority = directory.write(&Issued::new());
            (Some(authority), TlsStore::load(&directory.files()).unwrap())
        } else {
            (None, None)
        };
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let relay = Rc::new(RefCell::new(Recorder::default()));
        let happened = Rc::clone(&relay.borrow().happened);
        let admission = Arc::new(StreamAdmission::new(&limits));
        let setup = StreamSetup { listeners: vec![(ListenerId(0), listener)], tls, limits, admission };
        let streams = serve_streams(&relay, setup).unwrap();
        let harness = Harness { relay, streams, address, happened, authority, _directory: directory };
        timeout(PATIENCE, test(harness)).await.unwrap();
    });
}

fn limits() -> config::Streams {
    config::Streams::default()
}

/// A ChannelData message with its padding.
fn channel_data(number: u16, payload: &[u8]) -> Vec<u8> {
    let header = channel_data_header(number, u16::try_from(payload.len()).unwrap());
    [&header[..], payload, &[0; 3][..crate::stun::padding(payload.len())]].concat()
}

/// A STUN Binding request with an attribute nobody knows of `bytes` bytes, a multiple of four.
fn request(bytes: u16) -> Vec<u8> {
    let mut message = vec![0x00, 0x01];
    message.extend((bytes + 4).to_be_bytes());
    message.extend(0x2112_A442_u32.to_be_bytes());
    message.extend([7; 12]);
    message.extend(0x8055_u16.to_be_bytes());
    message.extend(bytes.to_be_bytes());
    message.extend(vec![0; usize::from(bytes)]);
    message
}

async fn read_exactly(stream: &mut (impl AsyncRead + Unpin), bytes: usize) -> Vec<u8> {
    let mut read = vec![0; bytes];
    stream.read_exact(&mut read).await.unwrap();
    read
}

/// Sends `bytes` one by one, each in a segment of its own as far as the kernel goes along.
async fn trickle(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) {
    for byte in bytes {
        stream.write_all(&[*byte]).await.unwrap();
        stream.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
}

#[test]
fn messages_are_whole_however_they_are_split() {
    run(limits(), false, async |harness| {
        let mut client = harness.connect().await;
        client.set_nodelay(true).unwrap();
        let expected = [request(0), channel_data(0x4000, b"12345"), request(8), channel_data(0x4001, b"")];
        let stream = expected.concat();
        trickle(&mut client, &stream).await;
        client.write_all(&stream).await.unwrap();
        harness.until(|relay| relay.messages.len() == 8).await;
        let relay = harness.relay.borrow();
        assert_eq!(relay.messages[1], &expected[1][..9], "padding is not part of a message");
        assert_eq!(relay.messages[..4], relay.messages[4..]);
        assert_eq!(relay.opened[0].0.transport, Transport::Tcp);
        assert_eq!(relay.opened[0].0.client, client.local_addr().unwrap());
    });
}

#[test]
fn thousands_of_pipelined_messages_arrive_in_order_over_both_transports() {
    run(limits(), true, async |harness| {
        let count = 5000_u32;
        let stream: Vec<u8> = (0..count).flat_map(|n| channel_data(0x4000, &n.to_be_bytes())).collect();
        let mut plain = harness.connect().await;
        plain.write_all(&stream).await.unwrap();
        harness.until(|relay| relay.messages.len() == count as usize).await;
        let mut tls = harness.connect_tls().await;
        tls.write_all(&stream).await.unwrap();
        tls.flush().await.unwrap();
        harness.until(|relay| relay.messages.len() == 2 * count as usize).await;
        let relay = harness.relay.borrow();
        let numbers =
            relay.messages.iter().map(|message| u32::from_be_bytes(message[4..8].try_into().unwrap()));
        assert!(numbers.eq((0..count).chain(0..count)));
        assert_eq!(relay.opened[1].0.transport, Transport::Tls);
        assert_eq!(harness.counters().open.get(StreamState::Tls), 1);
        assert_eq!(harness.counters().handshakes, 1);
    });
}

#[test]
fn what_is_queued_reaches_the_client_in_one_piece_over_tls() {
    run(limits(), true, async |harness| {
        let mut client = harness.connect_tls().await;
        client.write_all(&request(0)).await.unwrap();
        harness.until(|relay| !relay.messages.is_empty()).await;
        let queue = Rc::clone(&harness.relay.borrow().opened[0].1);
        let mut expected = Vec::new();
        // More than one TLS record and more than one batch, queued while the client does not read.
        for n in 0..150_u8 {
            let message = channel_data(0x4000, &vec![n; 1000 + usize::from(n)]);
            queue.push(&[&message[..4], &message[4..]]).unwrap();
            expected.extend(message);
        }
        assert_eq!(read_exactly(&mut client, expected.len()).await, expected);
        assert!(queue.is_empty());
    });
}

#[test]
fn largest_messages_pass_both_ways() {
    run(limits(), true, async |harness| {
        harness.relay.borrow_mut().allocated = true;
        harness.relay.borrow_mut().echo = true;
        let message = channel_data(0x4000, &vec![0xAB; 65_533]);
        let mut plain = harness.connect().await;
        plain.write_all(&message).await.unwrap();
        assert_eq!(read_exactly(&mut plain, message.len()).await, message);
        let mut tls = harness.connect_tls().await;
        tls.write_all(&message).await.unwrap();
        assert_eq!(read_exactly(&mut tls, message.len()).await, message);
    });
}

#[test]
fn a_stranger_cannot_make_us_buffer_a_large_message() {
    run(limits(), false, async |harness| {
        let mut client = harness.connect().await;
        client.write_all(&channel_data(0x4000, &[0; 8000])[..100]).await.unwrap();
        harness.until_closed(StreamClose::FrameTooLarge).await;
        assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    });
}

#[test]
fn a_slow_reader_loses_the_newest_datagrams_and_nothing_else() {
    run(config::Streams { buffer_bytes: 64 << 10, ..limits() }, false, async |harness| {
        let mut client = harness.connect().await;
        client.write_all(&request(0)).await.unwrap();
        harness.until(|relay| !relay.messages.is_empty()).await;
        let queue = Rc::clone(&harness.relay.borrow().opened[0].1);
        // Push, letting the connection write now and then, until the kernel takes no more and the queue is full.
        let mut sent: Vec<u32> = Vec::new();
        let mut number = 0_u32;
        let mut refused = 0;
        while refused < 1000 {
            let message = channel_data(0x4000, &[&number.to_be_bytes()[..], &[0; 1196]].concat());
            match queue.push(&[&message]) {
                Ok(()) => sent.push(number),
                Err(_) => refused += 1,
            }
            number += 1;
            if number.is_multiple_of(16) {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(harness.counters().queue_full_datagrams, 1000);
        // The client wakes up: everything that was accepted arrives whole and in order, and new data after it.
        for expected in &sent {
            let message = read_exactly(&mut client, 1204).await;
            assert_eq!(message[4..8], expected.to_be_bytes());
        }
        queue.push(&[&channel_data(0x4000, b"late")]).unwrap();
        assert_eq!(read_exactly(&mut client, 8).await, channel_data(0x4000, b"late"));
        assert_eq!(harness.counters().open.get(StreamState::Tcp), 1);
    });
}

#[test]
fn a_client_that_does_not_read_its_answers_is_not_read_from_and_loses_none() {
    run(config::Streams { buffer_bytes: 16 << 10, ..limits() }, false, async |harness| {
        harness.relay.borrow_mut().echo = true;
        let mut client = harness.connect().await;
        let (mut reader, mut writer) = client.split();
        let messages = 20_000_usize;
        let request = request(1000);
        let all = request.repeat(messages);
        let mut written = 0;
        // Writes until the server stops reading, and the kernel's buffers are full in both directions.
        loop {
            match timeout(Duration::from_millis(100), writer.write(&all[written..])).await {
                Ok(result) => written += result.unwrap(),
                Err(_) if harness.counters().pauses > 0 => break,
                Err(_) => {}
            }
            assert!(written < all.len(), "reading never paused");
        }
        assert_eq!(harness.counters().answers_dropped, 0);
        let write_rest = async { writer.write_all(&all[written..]).await.unwrap() };
        let read_all = async {
            let mut answer = vec![0; request.len()];
            for _ in 0..messages {
                reader.read_exact(&mut answer).await.unwrap();
                assert_eq!(answer, request);
            }
        };
        tokio::join!(write_rest, read_all);
        assert_eq!(harness.counters().answers_dropped, 0);
    });
}

#[test]
fn the_same_port_tells_plain_tls_and_junk_apart() {
    run(limits(), true, async |harness| {
        harness.relay.borrow_mut().echo = true;
        let mut plain = harness.connect().await;
        let mut tls = harness.connect_tls().await;
        plain.write_all(&request(0)).await.unwrap();
        tls.write_all(&request(4)).await.unwrap();
        assert_eq!(read_exactly(&mut plain, 24).await, request(0));
        assert_eq!(read_exactly(&mut tls, 28).await, request(4));
        for junk in [&b"\x80\x2e\x01"[..], b"\x05\x01\x00", b"\xff"] {
            let mut client = harness.connect().await;
            client.write_all(junk).await.unwrap();
            assert_eq!(client.read(&mut [0; 8]).await.unwrap_or(0), 0);
        }
        assert_eq!(harness.counters().closed.get(StreamClose::NotStun), 3);
        let mut http = harness.connect().await;
        http.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        harness.until_closed(StreamClose::FrameTooLarge).await;
        let mut bad_record = harness.connect().await;
        bad_record.write_all(b"\x16\x03\x01\x00\x05junk!").await.unwrap();
        harness.until_closed(StreamClose::HandshakeFailed).await;
        assert_eq!(bad_record.read(&mut [0; 8]).await.unwrap_or(0), 0);
    });
}

#[test]
fn tls_without_a_certificate_and_broken_frames_are_named() {
    run(limits(), false, async |harness| {
        let mut client = harness.connect().await;
        client.write_all(&[0x16, 3, 1, 0, 0]).await.unwrap();
        harness.until_closed(StreamClose::TlsUnavailable).await;
        let mut client = harness.connect().await;
        client.write_all(&request(0)).await.unwrap();
        harness.until(|relay| relay.messages.len() == 1).await;
        client.write_all(b"\x00\x01\x00\x00not a cookie").await.unwrap();
        harness.until_closed(StreamClose::InvalidFrame).await;
        assert_eq!(harness.relay.borrow().closed.len(), 1);
    });
}

#[test]
fn the_relay_can_end_a_connection_and_the_client_gets_what_was_queued() {
    run(limits(), true, async |harness| {
        let mut client = harness.connect_tls().await;
        client.write_all(&request(0)).await.unwrap();
        harness.until(|relay| !relay.messages.is_empty()).await;
        let queue = Rc::clone(&harness.relay.borrow().opened[0].1);
        queue.push(&[&channel_data(0x4000, b"last")]).unwrap();
        queue.close();
        let mut rest = Vec::new();
        // A close without close_notify would be an error here.
        client.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, channel_data(0x4000, b"last"));
        harness.until_closed(StreamClose::Disconnected).await;
        assert_eq!(harness.relay.borrow().closed.len(), 1);
    });
}

#[test]
fn shutdown_flushes_and_waits_for_every_connection() {
    run(limits(), false, async |harness| {
        let mut clients = Vec::new();
        for _ in 0..5 {
            let mut client = harness.connect().await;
            client.write_all(&request(0)).await.unwrap();
            clients.push(client);
        }
        harness.until(|relay| relay.messages.len() == 5).await;
        for (_, queue) in &harness.relay.borrow().opened {
            queue.push(&[&channel_data(0x4000, b"bye!")]).unwrap();
        }
        harness.streams.close();
        harness.streams.closed().await;
        assert_eq!(harness.counters().closed.get(StreamClose::Shutdown), 5);
        for mut client in clients {
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, channel_data(0x4000, b"bye!"));
        }
    });
}

#[test]
fn timeouts_close_what_stalls_and_spare_what_does_not() {
    let short = Duration::from_millis(150);
    let limits = config::Streams { handshake_timeout: short, frame_timeout: short, ..limits() };
    run(limits, true, async |harness| {
        let mut healthy = harness.connect().await;
        healthy.write_all(&request(0)).await.unwrap();
        let _silent = harness.connect().await;
        let mut stalled_handshake = harness.connect().await;
        stalled_handshake.write_all(&[0x16, 3, 1, 2, 0, 1]).await.unwrap();
        let mut stalled_frame = harness.connect().await;
        stalled_frame.write_all(&request(100)[..30]).await.unwrap();
        while harness.counters().closed.get(StreamClose::HandshakeTimeout) < 2 {
            tokio::task::yield_now().await;
        }
        harness.until_closed(StreamClose::FrameTimeout).await;
        assert_eq!(harness.counters().open.get(StreamState::Tcp), 1);
        healthy.write_all(&request(0)).await.unwrap();
        harness.until(|relay| relay.messages.len() == 2).await;
    });
}

#[test]
fn a_connection_without_an_allocation_is_closed_and_one_with_stays() {
    let limits = config::Streams { unauthenticated_timeout: Duration::from_millis(150), ..limits() };
    run(limits, false, async |harness| {
        harness.relay.borrow_mut().allocated = true;
        let mut client = harness.connect().await;
        client.write_all(&request(0)).await.unwrap();
        harness.until(|relay| relay.messages.len() == 1).await;
        assert!(
            timeout(Duration::from_millis(500), client.read(&mut [0; 1])).await.is_err(),
            "closed too early"
        );
        harness.relay.borrow_mut().allocated = false;
        harness.until_closed(StreamClose::UnauthenticatedTimeout).await;
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
    });
}

#[test]
fn connections_above_the_limit_are_reset_and_one_that_ends_makes_room() {
    run(config::Streams { connections_per_address: 2, ..limits() }, false, async |harness| {
        let first = harness.connect().await;
        let mut second = harness.connect().await;
        second.write_all(&request(0)).await.unwrap();
        harness.until(|relay| relay.messages.len() == 1).await;
        let mut third = harness.connect().await;
        assert!(third.read(&mut [0; 1]).await.is_err(), "a refused connection is reset");
        assert_eq!(harness.counters().refused.get(StreamRefusal::Address), 1);
        drop(first);
        harness.until_closed(StreamClose::Client).await;
        let mut fourth = harness.connect().await;
        fourth.write_all(&request(0)).await.unwrap();
        harness.until(|relay| relay.messages.len() == 2).await;
        assert_eq!(harness.counters().accepted, 4);
    });
}

#[test]
fn a_client_that_leaves_is_told_to_the_relay_once() {
    run(limits(), true, async |harness| {
        let mut plain = harness.connect().await;
        plain.write_all(&request(0)).await.unwrap();
        let mut tls = harness.connect_tls().await;
        tls.write_all(&request(0)).await.unwrap();
        harness.until(|relay| relay.messages.len() == 2).await;
        drop(plain);
        tls.shutdown().await.unwrap();
        harness.until(|relay| relay.closed.len() == 2).await;
        while harness.counters().closed.get(StreamClose::Client) < 2 {
            tokio::task::yield_now().await;
        }
        let counters = harness.counters();
        assert!(counters.open.iter().all(|(_, open)| open == 0));
    });
}
