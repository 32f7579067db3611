//! What a STUN server sees an address of this machine as (RFC 8489 §6.2.1, §12).

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    time::Duration,
};

use tokio::time::{Instant, timeout_at};

use crate::{
    runtime::clock::SystemRandom,
    stun::{
        Class, HEADER_BYTES, Message, Method, TransactionId, Writer, address, attribute, error_code,
        xor_address,
    },
    turn::Random as _,
};

/// RTO: the first retransmission; each further one waits twice as long.
const RETRANSMIT_FIRST: Duration = Duration::from_millis(500);
/// An answer is far smaller.
const ANSWER_BYTES_MAX: usize = 2048;

/// Why an address is not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// The system refuses to ask from there.
    #[error("cannot be asked from {0}: {1}")]
    System(IpAddr, io::Error),
    /// Nothing came back.
    #[error("does not answer {0}")]
    Silent(IpAddr),
    /// It refuses.
    #[error("answers {0} with error {1}")]
    Refused(IpAddr, u16),
    /// What it says cannot be.
    #[error("tells {0} an address that cannot be its own")]
    Absurd(IpAddr),
}

/// The address that these servers, which are one by its name, see `local` as. They are asked in turn until one answers.
///
/// # Errors
/// See [`AskError`].
pub(super) async fn ask(local: IpAddr, servers: &[SocketAddr], until: Instant) -> Result<IpAddr, AskError> {
    let refused = |error| AskError::System(local, error);
    let socket = tokio::net::UdpSocket::bind((local, 0)).await.map_err(refused)?;
    let mut id: TransactionId = [0; 12];
    SystemRandom::new().fill(&mut id);
    let mut request = [0; HEADER_BYTES];
    let length = Writer::new(&mut request, Class::Request, Method::BINDING, id).map_or(0, Writer::finish);
    let request = request.get(..length).unwrap_or_default();

    let (mut wait, mut failed) = (RETRANSMIT_FIRST, None);
    for server in servers.iter().cycle() {
        if Instant::now() >= until {
            break;
        }
        // The network may come up in the meantime.
        failed = socket.send_to(request, server).await.err();
        let again = until.min(Instant::now() + wait);
        wait *= 2;
        if let Ok(answer) = timeout_at(again, answer(&socket, local, servers, id)).await {
            return answer;
        }
    }
    Err(failed.map_or(AskError::Silent(local), refused))
}

/// Waits for an answer of one of the servers; everything else is ignored.
async fn answer(
    socket: &tokio::net::UdpSocket,
    local: IpAddr,
    servers: &[SocketAddr],
    id: TransactionId,
) -> Result<IpAddr, AskError> {
    let mut buffer = [0; ANSWER_BYTES_MAX];
    loop {
        // An ICMP error for what was sent before says nothing about what comes.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        if servers.contains(&from)
            && let Some(answer) = read(buffer.get(..length).unwrap_or_default(), local, id)
        {
            return answer;
        }
    }
}

/// What a datagram says, if it answers the request.
fn read(datagram: &[u8], local: IpAddr, id: TransactionId) -> Option<Result<IpAddr, AskError>> {
    let message = Message::parse(datagram).ok()?;
    if message.transaction_id() != id || message.method() != Method::BINDING {
        return None;
    }
    match message.class() {
        Class::Success => {
            let mapped = message.find(attribute::XOR_MAPPED_ADDRESS).map(|value| xor_address(value, &id));
            let mapped = mapped.or_else(|| message.find(attribute::MAPPED_ADDRESS).map(address));
            let ip = mapped.and_then(Result::ok).map(|mapped| mapped.ip());
            Some(ip.filter(|ip| can_be(*ip, local)).ok_or(AskError::Absurd(local)))
        }
        Class::Error => {
            let code = message.find(attribute::ERROR_CODE).and_then(|value| error_code(value).ok());
            Some(Err(AskError::Refused(local, code.map_or(0, |(code, _)| code))))
        }
        Class::Request | Class::Indication => None,
    }
}

/// Whether clients could be told that `local` is `public`.
fn can_be(public: IpAddr, local: IpAddr) -> bool {
    let is_of_nobody = match public {
        IpAddr::V4(ip) => ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast() || ip.is_unicast_link_local(),
    };
    public.is_ipv4() == local.is_ipv4() && !is_of_nobody && (!public.is_loopback() || local.is_loopback())
}

/// The address that this machine would ask `server` from. Nothing is sent.
pub(super) fn usual_source(server: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if server.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(server).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn answer_to(request: &[u8], mapped: &str) -> Vec<u8> {
        let id = Message::parse(request).unwrap().transaction_id();
        let mut buffer = vec![0; 64];
        let mut writer = Writer::new(&mut buffer, Class::Success, Method::BINDING, id).unwrap();
        writer.xor_address(attribute::XOR_MAPPED_ADDRESS, mapped.parse().unwrap()).unwrap();
        let length = writer.finish();
        buffer.truncate(length);
        buffer
    }

    /// Two servers of which only the second answers, with strangers in between.
    #[tokio::test]
    async fn the_request_is_sent_again_until_one_of_the_servers_answers() {
        let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let server = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let servers = [silent.local_addr().unwrap(), server.local_addr().unwrap()];
        let serve = async {
            let mut buffer = [0; 100];
            let (length, from) = server.recv_from(&mut buffer).await.unwrap();
            let request = &buffer[..length];
            let stranger = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
            stranger.send_to(&answer_to(request, "203.0.113.66:1"), from).await.unwrap();
            let mut other = request.to_vec();
            other[19] ^= 1;
            server.send_to(&answer_to(&other, "203.0.113.67:1"), from).await.unwrap();
            server.send_to(b"nonsense", from).await.unwrap();
            server.send_to(&answer_to(request, "203.0.113.5:1"), from).await.unwrap();
        };
        let until = Instant::now() + Duration::from_secs(5);
        let (found, ()) = tokio::join!(ask(LOCAL, &servers, until), serve);
        assert_eq!(found.unwrap().to_string(), "203.0.113.5");
    }

    #[tokio::test]
    async fn requests_come_twice_as_slowly_each_time_and_end() {
        let server = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let began = Instant::now();
        let until = began + Duration::from_secs(2);
        let servers = [server.local_addr().unwrap()];
        let listen = async {
            let (mut buffer, mut times) = ([0; 100], Vec::new());
            while let Ok(received) = timeout_at(until, server.recv_from(&mut buffer)).await {
                assert_eq!(received.unwrap().0, HEADER_BYTES);
                times.push(began.elapsed().as_millis());
            }
            times
        };
        let (found, times) = tokio::join!(ask(LOCAL, &servers, until), listen);
        assert!(matches!(found, Err(AskError::Silent(_))), "{found:?}");
        // Later than that they may be: other tests run beside this one.
        assert!((2..=3).contains(&times.len()), "{times:?}");
        assert!(times.iter().zip([0, 500, 1500]).all(|(time, wanted)| *time >= wanted), "{times:?}");
    }

    #[test]
    fn an_address_that_cannot_be_is_not_believed() {
        let id = [7; 12];
        let mut request = [0; HEADER_BYTES];
        assert_eq!(
            Writer::new(&mut request, Class::Request, Method::BINDING, id).unwrap().finish(),
            HEADER_BYTES
        );
        let said = |mapped: &str, local: &str| {
            read(&answer_to(&request, mapped), local.parse().unwrap(), id)
                .unwrap()
                .ok()
                .map(|ip| ip.to_string())
        };
        assert_eq!(said("203.0.113.5:9", "10.0.0.5").as_deref(), Some("203.0.113.5"));
        for (mapped, local) in [
            ("0.0.0.0:9", "10.0.0.5"),
            ("127.0.0.1:9", "10.0.0.5"),
            ("224.0.0.1:9", "10.0.0.5"),
            ("169.254.1.1:9", "10.0.0.5"),
            ("[2001:db8::1]:9", "10.0.0.5"),
            ("[fe80::1]:9", "fd00::5"),
        ] {
            assert_eq!(said(mapped, local), None, "{mapped}");
        }
        assert!(read(&request, LOCAL, id).is_none(), "a request is no answer");
    }
}
