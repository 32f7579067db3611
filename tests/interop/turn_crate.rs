//! The client of the `turn` crate: allocation, permission and relaying both ways.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;
use turn::client::{Client, ClientConfig};
use webrtc_util::Conn;

use crate::support::server::{REALM, USER};
use crate::support::{Server, Setup};

const LIMIT: Duration = Duration::from_secs(10);

#[test]
fn the_turn_crate_relays_both_ways() {
    let server = Server::start(Setup::default().loopback_peers());
    relays_both_ways(server.address(), USER.0, USER.1);
}

/// Allocates with the credential and relays fifty packets each way.
pub(crate) fn relays_both_ways(server: SocketAddr, username: &str, password: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = client(server, username, password).await;
        let relayed = timeout(LIMIT, client.allocate()).await.unwrap().unwrap();
        let relayed_address = relayed.local_addr().unwrap();
        let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let peer_address = peer.local_addr().unwrap();

        // The first goes as an indication; later ones take the channel that the client binds meanwhile.
        for round in 0..50_u8 {
            let payload = vec![round; 1 + 20 * usize::from(round)];
            timeout(LIMIT, relayed.send_to(&payload, peer_address)).await.unwrap().unwrap();
            let mut buffer = [0; 2000];
            let (length, from) = timeout(LIMIT, peer.recv_from(&mut buffer)).await.unwrap().unwrap();
            assert_eq!((&buffer[..length], from), (&payload[..], relayed_address));

            peer.send_to(&buffer[..length], relayed_address).await.unwrap();
            let mut buffer = [0; 2000];
            let (length, from) = timeout(LIMIT, relayed.recv_from(&mut buffer)).await.unwrap().unwrap();
            assert_eq!((&buffer[..length], from), (&payload[..], peer_address));
        }
        relayed.close().await.unwrap();
        client.close().await.unwrap();
    });
}

async fn client(server: SocketAddr, username: &str, password: &str) -> Client {
    let address = server.to_string();
    let config = ClientConfig {
        stun_serv_addr: address.clone(),
        turn_serv_addr: address,
        username: username.to_owned(),
        password: password.to_owned(),
        realm: REALM.to_owned(),
        software: String::new(),
        rto_in_ms: 0,
        conn: Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap()),
        vnet: None,
    };
    let client = Client::new(config).await.unwrap();
    client.listen().await.unwrap();
    client
}
