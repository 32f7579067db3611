//! Relaying, by the client of the `turn` crate: two allocations that send one another packets.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    net::UdpSocket,
    time::{sleep, timeout},
};
use turn::client::{Client, ClientConfig};

use super::link::{Link, WithoutIcmp};

/// A request with all its retransmissions.
const REQUEST_MAX: Duration = Duration::from_secs(4);
/// How many packets go there and back.
pub(super) const PACKETS: u16 = 50;
/// As often as audio is sent, and as large.
const PACE: Duration = Duration::from_millis(10);
const PACKET_BYTES: usize = 160;
/// How often a peer outside is tried, long enough for a machine that is busy.
const PEER_PACKETS: u32 = 25;
/// How long stragglers are waited for.
const STRAGGLERS_MAX: Duration = Duration::from_secs(1);

/// A name and a password to relay with.
#[derive(Clone)]
pub(super) struct Credential {
    pub(super) username: String,
    pub(super) password: zeroize::Zeroizing<String>,
}

/// Why a request was not granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The code of the answer.
    Code(u16),
    /// There was none.
    Silent,
    /// Something else, in the words of the client.
    Other(String),
}

/// One allocation of the `turn` crate's client.
pub(super) struct Allocation {
    client: Client,
    relayed: Link,
    pub(super) address: SocketAddr,
}

/// What came of sending packets to and fro.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Traffic {
    pub(super) sent: u16,
    pub(super) returned: u16,
    /// The middle one of the times there and back.
    pub(super) median: Option<Duration>,
}

impl Allocation {
    /// # Errors
    /// It was not granted.
    pub(super) async fn make(
        link: Link,
        server: SocketAddr,
        credential: &Credential,
    ) -> Result<Self, Refusal> {
        let other = |error: turn::Error| Refusal::Other(error.to_string());
        let config = ClientConfig {
            stun_serv_addr: String::new(),
            turn_serv_addr: server.to_string(),
            username: credential.username.clone(),
            password: credential.password.as_str().to_owned(),
            realm: String::new(),
            software: String::new(),
            rto_in_ms: 0,
            conn: std::sync::Arc::new(WithoutIcmp(link)),
            vnet: None,
        };
        let client = Client::new(config).await.map_err(other)?;
        client.listen().await.map_err(other)?;
        let relayed = match timeout(REQUEST_MAX, client.allocate()).await {
            Ok(Ok(relayed)) => relayed,
            Ok(Err(error)) => return Err(refusal(&error.to_string())),
            Err(_) => return Err(Refusal::Silent),
        };
        let relayed: Link = std::sync::Arc::new(relayed);
        let address = relayed.local_addr().map_err(|error| Refusal::Other(error.to_string()))?;
        Ok(Self { client, relayed, address })
    }

    /// Lets a peer in, by sending it something.
    ///
    /// # Errors
    /// It was not granted.
    pub(super) async fn admit(&self, peer: SocketAddr) -> Result<(), Refusal> {
        match timeout(REQUEST_MAX, self.relayed.send_to(b"hello", peer)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(refusal(&error.to_string())),
            Err(_) => Err(Refusal::Silent),
        }
    }

    /// Sends packets to another allocation, which sends them back.
    pub(super) async fn exchange(&self, other: &Self) -> Traffic {
        let echo = async {
            let mut buffer = [0; 2048];
            loop {
                // What cannot be sent back counts as lost.
                if let Ok((length, from)) = other.relayed.recv_from(&mut buffer).await {
                    drop(other.relayed.send_to(buffer.get(..length).unwrap_or_default(), from).await);
                } else {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            traffic = self.count_returns(other.address) => traffic,
            () = echo => Traffic { sent: 0, returned: 0, median: None },
        }
    }

    async fn count_returns(&self, peer: SocketAddr) -> Traffic {
        let begun = Instant::now();
        let sending = async {
            for number in 0..PACKETS {
                let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
                let mut packet = [0; PACKET_BYTES];
                packet[..2].copy_from_slice(&number.to_be_bytes());
                packet[2..10].copy_from_slice(&micros.to_be_bytes());
                drop(self.relayed.send_to(&packet, peer).await);
                sleep(PACE).await;
            }
            sleep(STRAGGLERS_MAX).await;
        };
        let mut times: Vec<Option<Duration>> = vec![None; usize::from(PACKETS)];
        let receiving = async {
            let mut buffer = [0; 2048];
            while times.iter().any(Option::is_none) {
                let Ok((PACKET_BYTES, _)) = self.relayed.recv_from(&mut buffer).await else { continue };
                let Some((&[high, low, ref sent @ ..], _)) = buffer.split_first_chunk::<10>() else {
                    continue;
                };
                let sent: [u8; 8] = *sent;
                let there_and_back =
                    begun.elapsed().saturating_sub(Duration::from_micros(u64::from_be_bytes(sent)));
                if let Some(time) = times.get_mut(usize::from(u16::from_be_bytes([high, low]))) {
                    time.get_or_insert(there_and_back);
                }
            }
        };
        // The sender also waits for stragglers, unless all are there.
        tokio::select! {
            () = sending => {}
            () = receiving => {}
        }
        let mut returned: Vec<Duration> = times.into_iter().flatten().collect();
        returned.sort_unstable();
        Traffic {
            sent: PACKETS,
            returned: u16::try_from(returned.len()).unwrap_or(PACKETS),
            median: returned.get(returned.len() / 2).copied(),
        }
    }

    /// Whether packets of a peer outside arrive: `peer` sends some to the relayed address.
    ///
    /// # Errors
    /// The peer is not let in.
    pub(super) async fn hears(&self, peer: &UdpSocket, seen_as: SocketAddr) -> Result<bool, Refusal> {
        self.admit(seen_as).await?;
        let sending = async {
            for _ in 0..PEER_PACKETS {
                drop(peer.send_to(b"peer", self.address).await);
                sleep(Duration::from_millis(150)).await;
            }
        };
        let mut buffer = [0; 64];
        tokio::select! {
            () = sending => Ok(false),
            heard = self.relayed.recv_from(&mut buffer) => Ok(heard.is_ok()),
        }
    }

    /// Gives it back at once.
    pub(super) async fn end(self) {
        drop(timeout(REQUEST_MAX, self.relayed.close()).await);
        drop(self.client.close().await);
    }
}

/// The client says `Allocate error response (error 401: Unauthorized)`.
fn refusal(text: &str) -> Refusal {
    let code = text.split_once("(error ").and_then(|(_, rest)| rest.get(..3)?.parse().ok());
    match code {
        Some(code) => Refusal::Code(code),
        None if text.contains("retransmissions failed") || text.contains("transaction closed") => {
            Refusal::Silent
        }
        None => Refusal::Other(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_from_what_the_client_says() {
        assert_eq!(refusal("Allocate error response (error 486: quota)"), Refusal::Code(486));
        assert_eq!(refusal("all retransmissions failed abc"), Refusal::Silent);
        assert_eq!(refusal("attribute not found"), Refusal::Other("attribute not found".to_owned()));
    }
}
