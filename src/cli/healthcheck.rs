//! `iceway healthcheck`.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, anyhow};

use super::{exit::Failure, terminal};
use crate::config::{Sources, load};

/// A node that needs longer is not well.
const TIME_MAX: Duration = Duration::from_secs(3);
/// An answer has a few hundred bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// Asks the node's `/readyz`.
pub(super) fn run(sources: &Sources) -> Result<(), Failure> {
    let loaded = load(sources)?;
    let listen = loaded.config.http.listen.ok_or_else(|| {
        anyhow!("http.listen is off, so there is nobody to ask; set it to an address such as 127.0.0.1:9641")
    })?;
    let answer = ask(reachable(listen)).with_context(|| format!("no answer from http://{listen}/readyz"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split_ascii_whitespace().nth(1).unwrap_or("no status");
    if status != "200" {
        return Err(anyhow!("not ready: {status} {}", body.trim()).into());
    }
    terminal::say(&format!("{}\n", body.trim()));
    Ok(())
}

/// Where a listener on every address is reached from this machine.
fn reachable(listen: SocketAddr) -> SocketAddr {
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), listen.port()),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), listen.port()),
        IpAddr::V4(_) | IpAddr::V6(_) => listen,
    }
}

fn ask(address: SocketAddr) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIME_MAX)?;
    stream.set_read_timeout(Some(TIME_MAX))?;
    stream.set_write_timeout(Some(TIME_MAX))?;
    stream.write_all(
        format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}
