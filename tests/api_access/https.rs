//! TLS on the HTTP listener, and client certificates.

use rcgen::SanType;

use crate::{
    certificates::{Authority, Issued},
    http::{Request, connect},
    server::{Directory, Server, key_text},
};

const HTTP1: &[&[u8]] = &[b"http/1.1"];

/// A server with a certificate of this authority.
fn start(authority: &Authority, more: &str) -> Server {
    let directory = Directory::new();
    write(&directory, &authority.issue_server());
    let certificate = directory.path("certificate.pem");
    let key = directory.path("key.pem");
    let ca = directory.write("ca.pem", &authority.pem());
    let config = format!(
        "[listen]\ntls = []\n[tls]\ncertificate = {certificate:?}\nprivate_key = {key:?}\n{}",
        more.replace("CA", &ca)
    );
    Server::start_in(directory, &["reader01 read", "admin001 admin"], &config)
}

fn write(directory: &Directory, issued: &Issued) {
    directory.write("certificate.pem", &issued.certificate.pem());
    directory.write("key.pem", &issued.key.serialize_pem());
}

fn nodes() -> Request {
    Request::get("/v1/nodes")
}

#[test]
fn tls_is_told_by_its_first_byte_beside_plain_http() {
    let authority = Authority::new();
    let server = start(&authority, "");
    for protocols in [HTTP1, &[]] {
        let client = authority.client_config(None, protocols);
        let request = nodes().bearer(&key_text("reader01"));
        assert_eq!(request.send_tls(server.http, &client).unwrap().status, 200);
    }
    assert_eq!(server.get("/v1/nodes", &key_text("reader01")).status, 200, "this machine may");
    let client = authority.client_config(None, &[b"stun.turn"]);
    assert!(nodes().send_tls(server.http, &client).is_err(), "another protocol is spoken elsewhere");
}

#[test]
fn without_a_certificate_a_tls_client_is_told_nothing() {
    let server = Server::start(&[], "");
    let client = Authority::new().client_config(None, HTTP1);
    assert!(nodes().send_tls(server.http, &client).is_err());
    assert_eq!(server.send(&Request::get("/healthz")).status, 200);
}

#[test]
fn a_renewed_certificate_is_shown_to_the_next_connection() {
    let (old, new) = (Authority::new(), Authority::new());
    let server = start(&old, "");
    let health = Request::get("/healthz");
    assert!(health.send_tls(server.http, &old.client_config(None, HTTP1)).is_ok());
    write(&server.directory, &new.issue_server());
    server.reload();
    assert!(health.send_tls(server.http, &new.client_config(None, HTTP1)).is_ok());
    assert!(health.send_tls(server.http, &old.client_config(None, HTTP1)).is_err());
}

#[test]
fn plain_http_can_be_refused_altogether() {
    let authority = Authority::new();
    let server = start(&authority, "[http]\nrequire_https = \"always\"\n");
    let refused = server.get("/v1/nodes", &key_text("reader01"));
    assert_eq!((refused.status, refused.code().as_str()), (403, "https_required"));
    assert_eq!(server.get("/metrics", &key_text("reader01")).code(), "https_required");
    for path in ["/healthz", "/readyz", "/metrics", "/"] {
        assert_eq!(server.send(&Request::get(path)).status, 200, "{path}");
    }
    let client = authority.client_config(None, HTTP1);
    let request = nodes().bearer(&key_text("reader01"));
    assert_eq!(request.send_tls(server.http, &client).unwrap().status, 200);
}

#[test]
fn a_client_certificate_is_a_caller() {
    let authority = Authority::new();
    let certificates = "[\"dns:backend.example=issue+read\", \"uri:spiffe://example/reader=read\"]";
    let server =
        start(&authority, &format!("[http]\nclient_ca_file = CA\n[api]\ncertificates = {certificates}\n"));
    let with = |name: SanType, request: Request| {
        let issued = authority.issue(vec![name]);
        request.send_tls(server.http, &authority.client_config(Some(&issued), HTTP1)).unwrap()
    };
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let issue = || Request::post("/v1/turn/credentials", r#"{"user":"alice"}"#);

    assert_eq!(with(dns("backend.example"), nodes()).status, 200);
    assert_eq!(with(dns("backend.example"), issue()).status, 201);
    let uri = || SanType::URI("spiffe://example/reader".try_into().unwrap());
    assert_eq!(with(uri(), nodes()).status, 200);
    assert_eq!(with(uri(), issue()).code(), "scope_missing");
    assert_eq!(with(dns("other.example"), nodes()).code(), "certificate_unknown");
    // Together with a key: what both allow.
    let admin = |request: Request| request.bearer(&key_text("admin001"));
    assert_eq!(with(uri(), admin(nodes())).status, 200);
    assert_eq!(with(uri(), admin(issue())).code(), "scope_missing");
    // None at all is asked for a key, one of another authority is not spoken to.
    let nothing = authority.client_config(None, HTTP1);
    assert_eq!(nodes().send_tls(server.http, &nothing).unwrap().code(), "unauthenticated");
    let foreign = Authority::new().issue(vec![dns("backend.example")]);
    let foreign = authority.client_config(Some(&foreign), HTTP1);
    assert!(nodes().send_tls(server.http, &foreign).is_err());
}

#[test]
fn a_key_can_need_a_certificate_beside_it() {
    let authority = Authority::new();
    let server = start(&authority, "[http]\nclient_ca_file = CA\n[api]\nrequire_certificate = true\n");
    let request = nodes().bearer(&key_text("reader01"));
    let without = authority.client_config(None, HTTP1);
    assert_eq!(request.send_tls(server.http, &without).unwrap().code(), "certificate_required");
    assert_eq!(request.send(server.http).code(), "certificate_required");
    let issued = authority.issue(vec![SanType::DnsName("any.example".try_into().unwrap())]);
    let with = authority.client_config(Some(&issued), HTTP1);
    assert_eq!(request.send_tls(server.http, &with).unwrap().status, 200);
}

#[test]
fn a_handshake_that_stalls_is_ended() {
    use std::io::{Read as _, Write as _};

    let authority = Authority::new();
    let server = start(&authority, "");
    let mut stream = connect(server.http);
    stream.write_all(&[0x16, 3, 1]).unwrap();
    let began = std::time::Instant::now();
    assert_eq!(stream.read(&mut [0; 64]).unwrap_or(0), 0);
    assert!(began.elapsed().as_secs() >= 5, "{:?}", began.elapsed());
    server.logged("A TLS handshake took too long on the HTTP listener.");
}
