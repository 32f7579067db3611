//! A server where Redis should be: it passes everything on to a real Redis, until it is told to answer in its own way.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// As the Redis behind it.
    Honest,
    /// Bytes of no protocol, without end.
    Random,
    /// A line without end.
    EndlessLine,
    /// A text of nine exabytes.
    HugeText,
    /// A list of a billion numbers.
    HugeList,
    /// Lists in lists.
    Deep,
    /// Another kind of value than asked for.
    WrongKind,
    /// The first half of an answer.
    Half,
    /// An error, to everything.
    Error,
    /// An error that is long and would end the line.
    LongError,
    /// A byte now and then.
    Slow,
    /// HTTP.
    Http,
    /// The alert of a server that expects TLS.
    Tls,
}

impl Manner {
    pub(super) const DISHONEST: [Self; 12] = [
        Self::Random,
        Self::EndlessLine,
        Self::HugeText,
        Self::HugeList,
        Self::Deep,
        Self::WrongKind,
        Self::Half,
        Self::Error,
        Self::LongError,
        Self::Slow,
        Self::Http,
        Self::Tls,
    ];

    const fn of(number: usize) -> Self {
        if number == 0 { Self::Honest } else { Self::DISHONEST[number - 1] }
    }

    fn number(self) -> usize {
        Self::DISHONEST.iter().position(|it| *it == self).map_or(0, |at| at + 1)
    }

    /// What is said at first, what is said again and again after that, and how long it waits in between.
    fn words(self) -> (Vec<u8>, Vec<u8>, Duration) {
        let now = Duration::ZERO;
        match self {
            Self::Honest => unreachable!("it passes on"),
            Self::Random => {
                let mut state = 0x1234_5678_u32;
                let noise = std::iter::repeat_with(|| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    state.to_be_bytes()[0]
                });
                (b"\x00".to_vec(), noise.take(65_536).collect(), now)
            }
            Self::EndlessLine => (b"+".to_vec(), vec![b'a'; 65_536], now),
            Self::HugeText => (b"$9223372036854775807\r\n".to_vec(), vec![b'x'; 65_536], now),
            Self::HugeList => (b"*1000000000\r\n".to_vec(), b":1\r\n".repeat(16_384), now),
            Self::Deep => (b"*1\r\n".repeat(1000), b"*1\r\n".repeat(1000), now),
            Self::WrongKind => (b":7\r\n".to_vec(), Vec::new(), now),
            Self::Half => (b"$100\r\nabc".to_vec(), Vec::new(), Duration::from_secs(60)),
            Self::Error => (b"-ERR go away\r\n".to_vec(), Vec::new(), now),
            Self::LongError => {
                let text = format!("-ERR \u{1b}[31mred\n{}\r\n", "long ".repeat(10_000));
                (text.into_bytes(), Vec::new(), now)
            }
            Self::Slow => (b"+".to_vec(), b"O".to_vec(), Duration::from_millis(300)),
            Self::Http => {
                let page = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                (page.into(), Vec::new(), now)
            }
            Self::Tls => (vec![0x15, 3, 3, 0, 2, 2, 70], Vec::new(), now),
        }
    }

    /// Whether each question is answered, as Redis would.
    const fn answers_each(self) -> bool {
        matches!(self, Self::WrongKind | Self::Error | Self::LongError)
    }
}

/// The server.
pub(super) struct Stranger {
    address: SocketAddr,
    manner: Arc<AtomicUsize>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Stranger {
    /// Before the Redis at a port of this machine.
    pub(super) fn before(redis: u16, manner: Manner) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let stranger = Self { address, manner: Arc::new(AtomicUsize::new(0)), open: Arc::default() };
        stranger.set(manner);
        let (manner, open) = (Arc::clone(&stranger.manner), Arc::clone(&stranger.open));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                open.lock().unwrap().push(stream.try_clone().unwrap());
                let manner = Arc::clone(&manner);
                std::thread::spawn(move || serve(&stream, redis, &manner));
            }
        });
        stranger
    }

    pub(super) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Connections that are open change at the next answer; when it is honest again, they end.
    pub(super) fn set(&self, manner: Manner) {
        self.manner.store(manner.number(), Ordering::Relaxed);
        if manner == Manner::Honest {
            for stream in self.open.lock().unwrap().drain(..) {
                drop(stream.shutdown(Shutdown::Both));
            }
        }
    }
}

/// Whoever is gone ends it: every write and read may fail.
fn serve(client: &TcpStream, redis: u16, manner: &AtomicUsize) {
    let now = || Manner::of(manner.load(Ordering::Relaxed));
    if now() == Manner::Honest {
        let Ok(redis) = TcpStream::connect((Ipv4Addr::LOCALHOST, redis)) else { return };
        let (questions, answers) = (client.try_clone().unwrap(), redis.try_clone().unwrap());
        std::thread::scope(|scope| {
            scope.spawn(|| pass(&questions, &redis, || true));
            pass(&answers, client, || now() == Manner::Honest);
            if now() != Manner::Honest {
                answer(client, now());
            }
            drop(redis.shutdown(Shutdown::Both));
            drop(client.shutdown(Shutdown::Both));
        });
        return;
    }
    answer(client, now());
    drop(client.shutdown(Shutdown::Both));
}

fn pass(mut from: &TcpStream, mut to: &TcpStream, goes_on: impl Fn() -> bool) {
    let mut buffer = [0; 65_536];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if !goes_on() || to.write_all(&buffer[..read]).is_err() {
            return;
        }
    }
}

fn answer(mut client: &TcpStream, manner: Manner) {
    let (first, again, pause) = manner.words();
    if manner.answers_each() {
        let mut buffer = [0; 65_536];
        while let Ok(read @ 1..) = client.read(&mut buffer) {
            // A command is a list: as many answers as begin here.
            let commands = buffer[..read].split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"*"));
            if client.write_all(&first.repeat(commands.count())).is_err() {
                return;
            }
        }
        return;
    }
    if client.write_all(&first).is_err() {
        return;
    }
    while !again.is_empty() || !pause.is_zero() {
        std::thread::sleep(pause);
        if client.write_all(&again).is_err() {
            return;
        }
        if again.is_empty() {
            return;
        }
    }
}
