//! Certificates: replaced while connections live, and what of TLS is agreed on.

use std::{fs, sync::Arc};

use iceway::runtime::{StreamClose, TlsError};
use rustls::{HandshakeKind, ProtocolVersion, pki_types::CertificateDer};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::{
    client::{Client, connect_tls, connect_tls_with},
    node::{TestNode, run},
};

fn certificate(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

#[test]
fn new_connections_see_the_new_certificate_and_old_ones_go_on() {
    run(async {
        let node = TestNode::start(|_| {});
        let mut old = Client::new(connect_tls(&node, node.ipv4()).await);
        old.allocate().await;
        let new = node.authority().issue(2);
        node.handle().reload_certificates().unwrap();
        let second = connect_tls(&node, node.ipv4()).await;
        assert_ne!(certificate(&old.stream), new);
        assert_eq!(certificate(&second), new);
        old.refresh(600).await;
        let status = node.handle().snapshot().await.certificate.unwrap();
        assert_eq!((status.reloads, status.reload_failures), (1, 0));
    });
}

#[test]
fn changed_files_are_noticed_without_being_told() {
    run(async {
        let node = TestNode::start(|_| {});
        let new = node.authority().issue(2);
        while certificate(&connect_tls(&node, node.ipv4()).await) != new {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    });
}

#[test]
fn a_broken_file_keeps_the_old_certificate_and_is_named() {
    run(async {
        let node = TestNode::start(|_| {});
        let before = certificate(&connect_tls(&node, node.ipv4()).await);
        let path = node.authority().certificate();
        let whole = fs::read_to_string(&path).unwrap();
        node.authority().replace(&path, &whole[..whole.len() / 2]);
        let error = node.handle().reload_certificates().unwrap_err();
        assert!(matches!(error, TlsError::CertificateDamaged { .. }));
        assert!(error.to_string().contains(path.to_str().unwrap()));
        assert_eq!(certificate(&connect_tls(&node, node.ipv4()).await), before);
        let status = node.handle().snapshot().await.certificate.unwrap();
        assert_eq!((status.reloads, status.reload_failures), (0, 1));
        node.authority().replace(&path, &whole);
        node.handle().reload_certificates().unwrap();
        assert_eq!(certificate(&connect_tls(&node, node.ipv4()).await), before);
    });
}

#[test]
fn both_versions_of_tls_and_the_protocol_names_of_turn_are_spoken() {
    run(async {
        let node = TestNode::start(|_| {});
        for (version, expected) in [
            (&rustls::version::TLS12, ProtocolVersion::TLSv1_2),
            (&rustls::version::TLS13, ProtocolVersion::TLSv1_3),
        ] {
            for protocol in [&b"stun.turn"[..], b"stun.nat-discovery"] {
                let mut config = node.authority().client_config_for(&[version]);
                config.alpn_protocols = vec![b"h2".to_vec(), protocol.to_vec()];
                let mut client = Client::new(connect_tls_with(config, node.ipv4()).await.unwrap());
                client.binding().await;
                let session = client.stream.get_ref().1;
                assert_eq!(session.alpn_protocol(), Some(protocol));
                assert_eq!(session.protocol_version(), Some(expected));
            }
        }
        let mut config = node.authority().client_config();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let error = connect_tls_with(config, node.ipv4()).await.unwrap_err();
        assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
        node.until(|streams| streams.closed.get(StreamClose::HandshakeFailed) == 1).await;
    });
}

#[test]
fn sessions_are_resumed_but_not_past_a_new_certificate() {
    run(async {
        let node = TestNode::start(|_| {});
        let config = Arc::new(node.authority().client_config());
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut client = Client::new(connect_tls_with(Arc::clone(&config), node.ipv4()).await.unwrap());
            // The ticket comes with or before the answer.
            client.binding().await;
            assert_eq!(client.stream.get_ref().1.handshake_kind(), Some(expected));
        }
        node.authority().issue(2);
        node.handle().reload_certificates().unwrap();
        let mut client = Client::new(connect_tls_with(config, node.ipv4()).await.unwrap());
        client.binding().await;
        assert_eq!(client.stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
    });
}

#[test]
fn without_a_certificate_tls_is_refused_and_tcp_goes_on() {
    run(async {
        let node = TestNode::start(|config| config.tls = iceway::config::Tls::default());
        let config = node.authority().client_config();
        assert!(connect_tls_with(config, node.ipv4()).await.is_err());
        node.until(|streams| streams.closed.get(StreamClose::TlsUnavailable) == 1).await;
        Client::new(crate::client::connect(node.ipv4()).await).binding().await;
        assert!(matches!(node.handle().reload_certificates(), Err(TlsError::NotConfigured)));
    });
}
