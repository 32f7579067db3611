//! The control socket, and commands that use it.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Output,
};

use crate::process::{FREE_PORTS, PATIENCE, Server, iceway};

/// A directory that is gone after the test.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("iceway-socket-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// `--http-control-socket=…`.
pub(crate) fn socket_flag(path: &Path) -> String {
    format!("--http-control-socket={}", path.display())
}

fn ask(path: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn said(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn whoever_opens_the_socket_is_the_administrator() {
    let scratch = Scratch::new("administrator");
    let path = scratch.path("control.sock");
    let mut server = Server::start(&[&socket_flag(&path)]);
    let get = |header: &str| {
        ask(&path, &format!("GET /v1/api-keys HTTP/1.1\r\nHost: x\r\n{header}Connection: close\r\n\r\n"))
    };
    assert!(get("").starts_with("HTTP/1.1 200 "), "{}", get(""));
    let with_key = get("X-Api-Key: iw_none_such\r\n");
    assert!(with_key.starts_with("HTTP/1.1 401 "), "a key that is brought is judged: {with_key}");

    server.signal("TERM");
    server.logged("Ended.");
    assert!(!path.exists(), "it goes with the server");
}

#[test]
fn a_second_server_is_refused_the_socket_of_the_first_and_takes_over_what_a_killed_one_left() {
    let scratch = Scratch::new("second");
    let path = scratch.path("control.sock");
    let flag = socket_flag(&path);
    let first = Server::start(&[&flag]);
    let second = iceway(&[&["serve", &flag], &FREE_PORTS[..]].concat()).output().unwrap();
    let said = said(&second);
    assert!(said.contains("is in use, most likely by another iceway"), "{said}");
    assert!(said.contains("http.control_socket (flag --http-control-socket)"), "{said}");

    first.signal("KILL");
    first.ended();
    assert!(path.exists());
    let mut third = Server::start(&[&flag]);
    assert!(ask(&path, "GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").contains("200 OK"));
    third.signal("TERM");
    third.logged("Ended.");
}

#[test]
fn a_command_finds_the_socket_as_the_server_does() {
    let scratch = Scratch::new("found");
    let mut command = iceway(&[&["serve"], &FREE_PORTS[..]].concat());
    command.env("XDG_RUNTIME_DIR", scratch.path("")).env("ICEWAY_AUTH_SECRET", crate::client::SECRET);
    let mut server = Server::launch(command);
    let drain = iceway(&["drain"]).env("XDG_RUNTIME_DIR", scratch.path("")).output().unwrap();
    let printed = String::from_utf8(drain.stdout).unwrap();
    assert!(drain.status.success() && printed.ends_with(" is drained.\n"), "{printed}");
    server.logged("Draining");

    let mut other = iceway(&[&["serve"], &FREE_PORTS[..]].concat());
    other.env("XDG_RUNTIME_DIR", scratch.path("")).env("ICEWAY_AUTH_SECRET", crate::client::SECRET);
    let other = Server::launch(other);
    let warned = other.read_back_starting("No control socket: ");
    assert_eq!(warned["level"], "WARN");
}

#[test]
fn a_command_says_what_to_do_when_nobody_answers() {
    let scratch = Scratch::new("nobody");
    let path = scratch.path("control.sock");
    let none = said(&iceway(&["drain"]).output().unwrap());
    assert!(none.contains("http.control_socket is off in this configuration"), "{none}");
    let nobody = said(&iceway(&["drain", &socket_flag(&path)]).output().unwrap());
    assert!(nobody.contains("no server answers at") && nobody.contains("is it running?"), "{nobody}");
    let nobody = said(&iceway(&["drain", "--server=http://127.0.0.1:1"]).output().unwrap());
    assert!(nobody.contains("no server answers at http://127.0.0.1:1: is it running"), "{nobody}");
    let no_url = said(&iceway(&["drain", "--server=turn.example.org"]).output().unwrap());
    assert!(no_url.contains("is not a URL such as"), "{no_url}");
    fs::write(scratch.path("broken.toml"), "[http\n").unwrap();
    let broken = scratch.path("broken.toml");
    let broken = said(&iceway(&["drain", "--config", broken.to_str().unwrap()]).output().unwrap());
    assert!(broken.contains("not read: "), "{broken}");
}
