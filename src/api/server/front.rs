//! What is done with every request before and after its handler.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, HeaderValue, Request, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use hyper::{body::Incoming, service::Service as _};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;

use super::tls::HttpTls;
use crate::{
    api::{
        Access, Service,
        caller::{Rules, X_API_KEY},
        cors,
        counters::RouteGroup,
        exchange::{Exchange, Known, RequestIds, request_id},
        forwarded::{self, Forwarded, is_within},
        problem::{FORWARDED_AMBIGUOUS, HTTPS_REQUIRED, ORIGIN_REFUSED, Problem},
    },
    config::RequireHttps,
};

/// What is known of a connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: IpAddr,
    pub(super) is_tls: bool,
    /// It came over the control socket.
    pub(super) is_control: bool,
    /// Its descriptor is one of the last: it must not stay as a socket for signaling.
    pub(super) is_last: bool,
    pub(super) certificate: Option<Arc<[Box<str>]>>,
}

impl Link {
    /// Of a connection from there, in clear text.
    pub(super) fn of(peer: SocketAddr, is_last: bool) -> Self {
        let peer = peer.ip().to_canonical();
        Self { peer, is_tls: false, is_control: false, is_last, certificate: None }
    }

    /// The same over TLS.
    pub(super) fn over_tls(self, certificate: Option<Arc<[Box<str>]>>) -> Self {
        Self { is_tls: true, certificate, ..self }
    }

    /// Of a connection to the control socket.
    pub(super) const fn control() -> Self {
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self { peer, is_tls: false, is_control: true, is_last: false, certificate: None }
    }
}

/// Stands before all handlers: names the request, finds out who is behind it, refuses what may not come at all, and
/// counts. Cheap to clone.
#[derive(Clone)]
pub(super) struct Front {
    router: TowerToHyperService<Router>,
    access: Arc<Access>,
    tls: Option<Arc<HttpTls>>,
    ids: Arc<RequestIds>,
}

impl Front {
    pub(super) fn new(router: Router, service: &Service) -> io::Result<Self> {
        let mut start = [0; 4];
        getrandom::fill(&mut start).map_err(io::Error::other)?;
        Ok(Self {
            router: TowerToHyperService::new(router),
            access: Arc::clone(&service.access),
            tls: service.node.tls_store().map(|store| Arc::new(HttpTls::new(store))),
            ids: Arc::new(RequestIds::new(u32::from_ne_bytes(start))),
        })
    }

    /// What a TLS session is made from; `None` without a certificate.
    pub(super) fn tls_config(&self) -> Result<Option<Arc<ServerConfig>>, rustls::Error> {
        let Some(tls) = &self.tls else { return Ok(None) };
        tls.config(self.access.rules().client_verifier.as_ref()).map(Some)
    }

    /// Answers a request.
    pub(super) async fn answer(
        self,
        request: Request<Incoming>,
        link: &Link,
    ) -> Result<Response, Infallible> {
        let rules = self.access.rules();
        let group = RouteGroup::of(request.uri().path());
        let origin = cors::listed(request.headers(), &rules.http.cors_origins).cloned();
        let (mut parts, body) = request.into_parts();
        let id = request_id(&parts.headers, &self.ids);
        let exchange = match exchange(&parts.headers, link, id.clone(), &rules) {
            Ok(exchange) => exchange,
            Err(problem) => {
                // Who asks cannot be told, so nothing else is looked at.
                let exchange = Exchange::new(nobody(id));
                return Ok(self.finish(problem.into_response(), &exchange, origin, group));
            }
        };
        let response = match refuse(&parts, link, &exchange, &rules) {
            Some(problem) => problem.into_response(),
            None if cors::is_preflight(&parts) && group != RouteGroup::Metrics => match origin {
                Some(_) => cors::preflight(),
                None => ORIGIN_REFUSED.with("Add it to `http.cors_origins`.").into_response(),
            },
            None => {
                parts.extensions.insert(exchange.clone());
                let request = Request::from_parts(parts, Body::new(body));
                let Ok(response) = self.router.call(request).await;
                response
            }
        };
        Ok(self.finish(response, &exchange, origin, group))
    }

    fn finish(
        &self,
        mut response: Response,
        exchange: &Exchange,
        origin: Option<HeaderValue>,
        group: RouteGroup,
    ) -> Response {
        if let Some(problem) = response.extensions_mut().remove::<Problem>() {
            if let Some(limit) = problem.limit() {
                exchange.note(limit);
            }
            let document = problem.document(Some(exchange.id()));
            response.headers_mut().remove(header::CONTENT_LENGTH);
            *response.body_mut() = Body::from(document);
        }
        let headers = response.headers_mut();
        if is_private(group) && !headers.contains_key(header::CACHE_CONTROL) {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        if let Some(origin) = origin {
            cors::allow(headers, origin);
        }
        if !self.access.rules().http.cors_origins.is_empty() {
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
        exchange.finish(headers);
        self.access.counters().request(group, response.status().as_u16());
        response
    }
}

/// Of a request that cannot be told to come from anybody.
fn nobody(id: HeaderValue) -> Known {
    Known {
        id,
        client: IpAddr::from([0; 4]),
        is_secure: false,
        is_control: false,
        is_last: false,
        is_forwarded: true,
        certificate: None,
        limits: Mutex::default(),
    }
}

/// Finds out who is behind a request.
fn exchange(headers: &HeaderMap, link: &Link, id: HeaderValue, rules: &Rules) -> Result<Exchange, Problem> {
    let trusted = &rules.http.trusted_proxies;
    let is_proxy = !link.is_control && !trusted.is_empty() && is_within(trusted, link.peer);
    let forwarded = if is_proxy {
        forwarded::read(headers, link.peer, trusted).map_err(|_| {
            FORWARDED_AMBIGUOUS
                .with("`Forwarded` and `X-Forwarded-For` name different clients: have the proxy drop one.")
        })?
    } else {
        Forwarded { client: link.peer, is_secure: None }
    };
    let is_secure = match (is_proxy, forwarded.is_secure) {
        (true, Some(is_secure)) => is_secure,
        // The operator's own proxy, which says nothing: what comes from it is taken as it comes.
        (true, None) => link.is_tls || rules.http.require_https != RequireHttps::Always,
        (false, _) => link.is_tls || link.is_control,
    };
    Ok(Exchange::new(Known {
        id,
        client: forwarded.client,
        is_secure,
        is_control: link.is_control,
        is_last: link.is_last,
        is_forwarded: !is_proxy && forwarded::is_forwarded(headers),
        certificate: link.certificate.clone(),
        limits: Mutex::default(),
    }))
}

/// What may not come at all.
fn refuse(parts: &Parts, link: &Link, exchange: &Exchange, rules: &Rules) -> Option<Problem> {
    let known = exchange.known();
    if known.is_secure {
        return None;
    }
    let is_tolerated = match rules.http.require_https {
        RequireHttps::Never => true,
        RequireHttps::Always => false,
        RequireHttps::Auto => !rules.has_certificate || link.peer.is_loopback(),
    };
    let has_credentials =
        parts.headers.contains_key(header::AUTHORIZATION) || parts.headers.contains_key(X_API_KEY);
    if is_tolerated || (is_open(parts) && !has_credentials) {
        return None;
    }
    let detail =
        "Use https:// here. What was sent in clear text may have been read: replace a key that was among it.";
    Some(HTTPS_REQUIRED.with(detail))
}

/// Whether this is for everybody, and nothing in it is worth reading along.
fn is_open(parts: &Parts) -> bool {
    let is_reading = parts.method == "GET" || parts.method == "HEAD";
    let path = parts.uri.path();
    is_reading
        && parts.uri.query().is_none()
        && (["/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/asyncapi.json"].contains(&path)
            || path.starts_with("/schemas/v1/"))
}

/// Whether answers may hold credentials, or who uses them.
const fn is_private(group: RouteGroup) -> bool {
    match group {
        RouteGroup::Credentials
        | RouteGroup::Revocations
        | RouteGroup::Secrets
        | RouteGroup::ApiKeys
        | RouteGroup::Allocations
        | RouteGroup::Nodes
        | RouteGroup::Usage
        | RouteGroup::Calls
        | RouteGroup::Signaling => true,
        RouteGroup::Health | RouteGroup::Metrics | RouteGroup::Other => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Http;

    use super::*;

    /// Whether `GET path` comes through: from this address, over TLS or not, under this rule, on a node with or without
    /// a certificate.
    fn passes(path: &str, peer: &str, header: Option<&str>, http: &Http, has_certificate: bool) -> bool {
        let rules = Rules::of_listener(http.clone(), has_certificate);
        let mut request = Request::get(path);
        if let Some((name, value)) = header.and_then(|header| header.split_once(": ")) {
            request = request.header(name, value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let link = Link {
            peer: peer.parse().unwrap(),
            is_tls: false,
            is_control: false,
            is_last: false,
            certificate: None,
        };
        let exchange = exchange(&parts.headers, &link, HeaderValue::from_static("id"), &rules);
        refuse(&parts, &link, &exchange.unwrap(), &rules).is_none()
    }

    const NODES: &str = "/v1/nodes";
    const FAR: &str = "192.0.2.1";

    #[test]
    fn clear_text_is_refused_from_beyond_this_machine_where_there_is_a_certificate() {
        let http = Http::default();
        assert!(!passes(NODES, FAR, None, &http, true));
        assert!(passes(NODES, FAR, None, &http, false));
        assert!(passes(NODES, "127.0.0.1", None, &http, true));
        assert!(passes(NODES, "::1", None, &http, true));
        for path in ["/", "/healthz", "/readyz", "/metrics", "/openapi.json"] {
            assert!(passes(path, FAR, None, &http, true), "{path}");
        }
        assert!(!passes("/?service=turn&key=x", FAR, None, &http, true));
        assert!(!passes("/metrics", FAR, Some("authorization: Bearer x"), &http, true));
        assert!(!passes("/metrics", FAR, Some("x-api-key: x"), &http, true));
    }

    #[test]
    fn the_rule_can_be_stricter_or_none() {
        let never = Http { require_https: RequireHttps::Never, ..Http::default() };
        assert!(passes(NODES, FAR, None, &never, true));
        let always = Http { require_https: RequireHttps::Always, ..Http::default() };
        assert!(!passes(NODES, "127.0.0.1", None, &always, false));
    }

    #[test]
    fn the_control_socket_is_as_good_as_https_and_no_header_says_where_a_request_comes_from() {
        let trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        let http = Http { require_https: RequireHttps::Always, trusted_proxies, ..Http::default() };
        let rules = Rules::of_listener(http, true);
        let request = Request::get(NODES).header("x-forwarded-for", "203.0.113.1").body(()).unwrap();
        let (parts, ()) = request.into_parts();
        let exchange = exchange(&parts.headers, &Link::control(), HeaderValue::from_static("id"), &rules);
        let exchange = exchange.unwrap();
        assert!(refuse(&parts, &Link::control(), &exchange, &rules).is_none());
        assert!(exchange.client().is_loopback() && exchange.known().is_control);
    }

    #[test]
    fn a_trusted_proxy_says_how_its_client_came() {
        let trusted_proxies = vec!["192.0.2.0/24".parse().unwrap()];
        let http = Http { trusted_proxies: trusted_proxies.clone(), ..Http::default() };
        assert!(passes(NODES, FAR, Some("x-forwarded-proto: https"), &http, true));
        assert!(!passes(NODES, FAR, Some("x-forwarded-proto: http"), &http, true));
        assert!(passes(NODES, FAR, None, &http, true));
        assert!(!passes(NODES, "203.0.113.1", Some("x-forwarded-proto: https"), &http, true));
        let always = Http { require_https: RequireHttps::Always, trusted_proxies, ..Http::default() };
        assert!(!passes(NODES, FAR, None, &always, true));
        assert!(passes(NODES, FAR, Some("forwarded: for=198.51.100.1;proto=https"), &always, true));
    }
}
