//! The same over TLS, with origins judged.

use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest as _},
};

use crate::signal_support::{Issuer, Node, Setup};

type Secure = WebSocketStream<tokio_rustls::client::TlsStream<TcpStream>>;

async fn open(
    node: &Node,
    roots: &rustls::RootCertStore,
    headers: &[(&'static str, &str)],
) -> Result<Secure, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    let stream = TcpStream::connect(node.http).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let url = format!("wss://localhost:{}/v1/signal", node.http.port());
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "rtc-signal.v1".parse().unwrap());
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    client_async(request, stream).await.map(|(stream, _)| stream)
}

#[tokio::test]
async fn tls_carries_it_and_only_pages_that_are_listed_or_ours_get_in() {
    let issuer = Issuer::new();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let directory = std::env::temp_dir().join(format!("iceway-signal-tls-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let (certificate, key) = (directory.join("c.pem"), directory.join("k.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let setup = Setup::default()
        .with("tls.certificate", format!("{:?}", certificate.display().to_string()))
        .with("tls.private_key", format!("{:?}", key.display().to_string()))
        .with("signal.bearer_subprotocol", "true")
        .with("signal.origins", r#"["https://app.example"]"#);
    let node = Node::start(&issuer, setup);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();

    let own = format!("https://localhost:{}", node.http.port());
    for origin in ["https://app.example", own.as_str()] {
        let mut socket = open(&node, &roots, &[("origin", origin)]).await.unwrap();
        let hello = json!({ "id": "h", "type": "hello", "v": 1, "token": issuer.token("ann", "") });
        socket.send(Message::text(hello.to_string())).await.unwrap();
        let Some(Ok(Message::Text(text))) = socket.next().await else { panic!("no welcome for {origin}") };
        let welcome: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(welcome["type"], "welcome", "{welcome}");
    }
    for origin in ["https://evil.example", "http://app.example", "null"] {
        match open(&node, &roots, &[("origin", origin)]).await {
            Err(Error::Http(response)) => assert_eq!(response.status(), 403, "{origin}"),
            other => panic!("{origin}: {:?}", other.map(|_| ())),
        }
    }
    let offered = format!("rtc-signal.v1, bearer.{}", issuer.token("bob", ""));
    let mut socket = open(&node, &roots, &[("sec-websocket-protocol", &offered)]).await.unwrap();
    socket.send(Message::text(r#"{"id":"h","type":"hello","v":1}"#)).await.unwrap();
    let Some(Ok(Message::Text(text))) = socket.next().await else { panic!("no welcome") };
    assert!(text.contains("\"user\":\"bob\""), "{text}");
    std::fs::remove_dir_all(&directory).unwrap();
}
