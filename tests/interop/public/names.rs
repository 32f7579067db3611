//! A name server of our own, for one namespace.

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::namespace::Namespace;

const QUESTION: usize = 12;

/// Answers what it is told to for every name, as long as it lives; nothing at all while it is told nothing.
pub(super) struct Names {
    answers: Arc<Mutex<Vec<IpAddr>>>,
    directory: PathBuf,
    /// Ends the thread when it goes.
    _alive: Arc<()>,
}

impl Names {
    /// For whatever runs in `namespace`.
    pub(super) fn serve(namespace: &Namespace, answers: &[&str]) -> Self {
        let directory = PathBuf::from("/etc/netns").join(namespace.name());
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("resolv.conf"), "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
            .unwrap();
        let socket = namespace.enter(|| UdpSocket::bind("127.0.0.1:53").unwrap());
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let names = Self { answers: Arc::default(), directory, _alive: Arc::new(()) };
        names.set(answers);
        let (answers, alive) = (Arc::clone(&names.answers), Arc::downgrade(&names._alive));
        std::thread::spawn(move || {
            let mut query = [0; 512];
            while alive.strong_count() > 0 {
                let Ok((length, from)) = socket.recv_from(&mut query) else { continue };
                let answers = answers.lock().unwrap().clone();
                if !answers.is_empty() {
                    drop(socket.send_to(&answer(&query[..length], &answers), from));
                }
            }
        });
        names
    }

    pub(super) fn set(&self, answers: &[&str]) {
        *self.answers.lock().unwrap() = answers.iter().map(|text| text.parse().unwrap()).collect();
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.directory));
    }
}

/// The addresses of the family that is asked for (RFC 1035 §4.1).
fn answer(query: &[u8], answers: &[IpAddr]) -> Vec<u8> {
    let name_ends = QUESTION + query[QUESTION..].iter().position(|&byte| byte == 0).unwrap() + 1;
    let question = &query[QUESTION..name_ends + 4];
    let wants_ipv4 = question[question.len() - 3] == 1;
    let found: Vec<&IpAddr> = answers.iter().filter(|ip| ip.is_ipv4() == wants_ipv4).collect();
    let count = u8::try_from(found.len()).unwrap();
    let mut message = [&query[..2], &[0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0], question].concat();
    for ip in found {
        // A pointer to the name, type and class of the question, a lifetime of none.
        message.extend([0xc0, QUESTION as u8]);
        message.extend(&question[question.len() - 4..]);
        message.extend([0; 4]);
        match ip {
            IpAddr::V4(ip) => message.extend([&[0, 4][..], &ip.octets()].concat()),
            IpAddr::V6(ip) => message.extend([&[0, 16][..], &ip.octets()].concat()),
        }
    }
    message
}
