//! Against a real HTTPS server that publishes what the test says, or does worse.

use std::{path::Path, sync::atomic::AtomicUsize};

use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::*;

/// RFC 8037 A.2.
const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

fn key_set(ids: &[&str]) -> String {
    let keys: Vec<String> =
        ids.iter().map(|id| format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{id}","x":"{X}"}}"#)).collect();
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

fn ok(ids: &[&str]) -> String {
    answer("200 OK", "Cache-Control: max-age=600\r\n", &key_set(ids))
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

/// A server with a certificate of its own authority.
struct Publisher {
    url: String,
    answer: Arc<Mutex<Option<String>>>,
    asked: Arc<AtomicUsize>,
    directory: std::path::PathBuf,
}

impl Publisher {
    async fn start(name: &str) -> Self {
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let directory = std::env::temp_dir().join(format!("iceway-jwks-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("ca.pem"), issued.cert.pem()).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![issued.cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/jwks", listener.local_addr().unwrap().port());
        let publisher = Self { url, answer: Arc::default(), asked: Arc::default(), directory };
        let (answer, asked) = (Arc::clone(&publisher.answer), Arc::clone(&publisher.asked));
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let answer = answer.lock().unwrap().clone();
                asked.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut request = [0; 4096];
                    let Ok(_read) = stream.read(&mut request).await else { return };
                    match answer {
                        Some(answer) => {
                            drop(stream.write_all(answer.as_bytes()).await);
                            drop(stream.shutdown().await);
                        }
                        // Never answers.
                        None => std::future::pending().await,
                    }
                });
            }
        });
        publisher
    }

    fn publish(&self, answer: impl Into<Option<String>>) {
        *self.answer.lock().unwrap() = answer.into();
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn ca_file(&self) -> std::path::PathBuf {
        self.directory.join("ca.pem")
    }

    fn jwks(&self) -> Arc<Jwks> {
        Jwks::new(&self.url, Some(&self.ca_file()), Arc::default()).unwrap()
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

impl Jwks {
    fn skip(&self, seconds: u64) {
        self.ahead.fetch_add(seconds, Ordering::Relaxed);
    }

    async fn knows(self: &Arc<Self>, id: &str) -> Result<bool, Unavailable> {
        Ok(self.keys(Some(id)).await?.has(id))
    }

    fn count(&self, result: JwksRefresh) -> u64 {
        self.counters.counts().jwks_refreshes[result as usize]
    }

    /// Waits for what goes on in the background.
    async fn settle(&self, attempts: u64) {
        let patience = tokio::time::timeout(Duration::from_secs(10), async {
            while self.attempts.load(Ordering::SeqCst) < attempts {
                tokio::task::yield_now().await;
            }
        });
        patience.await.unwrap();
    }
}

#[tokio::test]
async fn many_who_ask_at_once_have_the_keys_fetched_once() {
    let publisher = Publisher::start("once").await;
    publisher.publish(ok(&["a"]));
    let jwks = publisher.jwks();
    let all = (0..50).map(|_| {
        let jwks = Arc::clone(&jwks);
        tokio::spawn(async move { jwks.knows("a").await })
    });
    for knows in futures_util::future::join_all(all).await {
        assert_eq!(knows.unwrap(), Ok(true));
    }
    assert_eq!(publisher.asked(), 1);
}

#[tokio::test]
async fn a_new_key_is_looked_for_at_once_and_an_unknown_one_seldom() {
    let publisher = Publisher::start("rotation").await;
    publisher.publish(ok(&["a"]));
    let jwks = publisher.jwks();
    assert_eq!(jwks.knows("a").await, Ok(true));
    publisher.publish(ok(&["a", "b"]));
    assert_eq!(jwks.knows("b").await, Ok(true));
    assert_eq!(publisher.asked(), 2);

    for id in ["x", "y", "x"] {
        assert_eq!(jwks.knows(id).await, Ok(false));
    }
    assert_eq!(publisher.asked(), 2, "within 30 s of the last look");
    jwks.skip(31);
    assert_eq!(jwks.knows("x").await, Ok(false));
    assert_eq!(publisher.asked(), 3);
    jwks.skip(31);
    assert_eq!(jwks.knows("x").await, Ok(false));
    assert_eq!(publisher.asked(), 3, "known to be unknown");
    assert_eq!(jwks.knows("y").await, Ok(false));
    assert_eq!(publisher.asked(), 4);
}

#[tokio::test]
async fn keys_are_renewed_ahead_and_a_removed_one_is_gone_when_their_time_is_over() {
    let publisher = Publisher::start("removal").await;
    publisher.publish(ok(&["a", "b"]));
    let jwks = publisher.jwks();
    assert_eq!(jwks.knows("a").await, Ok(true));
    let generation = jwks.generation();
    publisher.publish(ok(&["b"]));
    jwks.skip(470);
    assert_eq!(jwks.knows("a").await, Ok(true));
    assert_eq!(jwks.generation(), generation);
    jwks.skip(20);
    assert_eq!(jwks.knows("b").await, Ok(true), "the old ones, while new ones are fetched");
    jwks.settle(2).await;
    assert_ne!(jwks.generation(), generation);
    jwks.skip(100);
    assert_eq!(jwks.knows("a").await, Ok(false));
}

#[tokio::test]
async fn an_outage_is_outlived_for_a_day() {
    let publisher = Publisher::start("outage").await;
    publisher.publish(ok(&["a"]));
    let jwks = publisher.jwks();
    assert_eq!(jwks.knows("a").await, Ok(true));
    publisher.publish(answer("503 Service Unavailable", "", "down"));
    jwks.skip(700);
    assert_eq!(jwks.knows("a").await, Ok(true));
    let asked = publisher.asked();
    assert_eq!(asked, 2);
    assert_eq!(jwks.knows("a").await, Ok(true));
    assert_eq!(publisher.asked(), asked, "not asked again at once");
    jwks.skip(20 * 3600);
    assert_eq!(jwks.knows("a").await, Ok(true));
    jwks.skip(5 * 3600);
    assert!(jwks.knows("a").await.is_err());
    assert_eq!(jwks.count(JwksRefresh::Status), 3);
    publisher.publish(ok(&["a"]));
    jwks.skip(31);
    assert_eq!(jwks.knows("a").await, Ok(true));
}

#[tokio::test]
async fn a_server_that_does_what_it_should_not_is_not_waited_for_nor_followed() {
    let publisher = Publisher::start("bad").await;
    let huge = answer("200 OK", "", &"x".repeat(300 << 10));
    let many: Vec<String> = (0..65).map(|number| number.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let elsewhere = format!("Location: {}\r\n", publisher.url);
    let cases = [
        (Some(answer("302 Found", &elsewhere, "")), JwksRefresh::Status),
        (Some(huge), JwksRefresh::TooLarge),
        (Some(ok(&many)), JwksRefresh::Malformed),
        (Some(answer("200 OK", "", "<html>")), JwksRefresh::Malformed),
        (Some("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort".to_owned()), JwksRefresh::Unreachable),
        (None, JwksRefresh::Unreachable),
    ];
    for (answer, result) in cases {
        publisher.publish(answer);
        let jwks = publisher.jwks();
        let asked = publisher.asked();
        let started = Instant::now();
        assert!(jwks.knows("0").await.is_err());
        assert!(started.elapsed() < Duration::from_secs(8));
        assert_eq!(jwks.count(result), 1, "{result:?}");
        assert_eq!(publisher.asked(), asked + 1, "{result:?}");
    }
}

#[tokio::test]
async fn a_server_of_another_authority_is_refused() {
    let (one, other) = (Publisher::start("one").await, Publisher::start("other").await);
    one.publish(ok(&["a"]));
    let jwks = Jwks::new(&one.url, Some(&other.ca_file()), Arc::default()).unwrap();
    assert!(jwks.knows("a").await.is_err());
    assert_eq!(jwks.count(JwksRefresh::Unreachable), 1);
    assert_eq!(one.asked(), 0);
    let nowhere = Jwks::new(&one.url, Some(&Path::new("/nowhere").to_owned()), Arc::default());
    assert!(nowhere.is_err());
}
