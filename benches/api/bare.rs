//! What the same libraries cost without any of iceway: a handler that reads the request and answers a constant.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use axum::{Json, Router, http::StatusCode, routing::post};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

/// An answer of the size that iceway gives.
const ANSWER: &str = include_str!("answer.json");

/// A request of the native form.
#[derive(serde::Deserialize)]
struct Request {
    user: String,
    ttl: u64,
}

/// Serves until the process is killed, on one thread.
pub(crate) fn serve(address: SocketAddr, tls: Option<&[PathBuf]>) -> Result<()> {
    let acceptor = tls.map(acceptor).transpose()?;
    let answer: serde_json::Value = serde_json::from_str(ANSWER)?;
    let answer = Arc::new(answer);
    let router = Router::new().route(
        "/v1/turn/credentials",
        post(move |Json(request): Json<Request>| {
            let answer = Arc::clone(&answer);
            async move {
                debug_assert!(!request.user.is_empty() && request.ttl > 0);
                (StatusCode::CREATED, Json((*answer).clone()))
            }
        }),
    );
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await.context("binding")?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let (router, acceptor) = (router.clone(), acceptor.clone());
            tokio::spawn(async move {
                // A connection that fails shows in the load.
                match acceptor {
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            answer_on(stream, router).await;
                        }
                    }
                    None => answer_on(stream, router).await,
                }
            });
        }
    })
}

async fn answer_on(stream: impl AsyncRead + AsyncWrite + Unpin, router: Router) {
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    drop(connection.await);
}

fn acceptor(files: &[PathBuf]) -> Result<TlsAcceptor> {
    let [certificate, key] = files else { anyhow::bail!("--tls wants a certificate and a key") };
    let chain = vec![CertificateDer::from_pem_file(certificate)?];
    let key = PrivateKeyDer::from_pem_file(key)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
