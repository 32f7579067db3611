//! `iceway reload`: what it says and what it changes.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Output};

use crate::{
    client::Client,
    process::{FREE_PORTS, Server, iceway},
    socket::{Scratch, socket_flag},
};

const USERS: &str = "bob:builder-of-things\n";

/// A server with a file of its own, and the commands that reach it.
struct Scene {
    scratch: Scratch,
    server: Server,
}

impl Scene {
    fn new(name: &str) -> Self {
        let scratch = Scratch::new(name);
        fs::write(scratch.path("users"), USERS).unwrap();
        fs::set_permissions(scratch.path("users"), fs::Permissions::from_mode(0o600)).unwrap();
        let socket = socket_flag(&scratch.path("control.sock"));
        let scene = |server| Self { scratch, server };
        let file =
            std::env::temp_dir().join(format!("iceway-socket-{}-{name}/iceway.toml", std::process::id()));
        fs::write(&file, configuration(name, "")).unwrap();
        let arguments = ["--config", file.to_str().unwrap(), &socket];
        scene(Server::launch(iceway(&[&arguments[..], &FREE_PORTS[..]].concat())))
    }

    fn configure(&self, name: &str, more: &str) {
        fs::write(self.scratch.path("iceway.toml"), configuration(name, more)).unwrap();
    }

    fn reload(&self, arguments: &[&str]) -> Output {
        let socket = socket_flag(&self.scratch.path("control.sock"));
        iceway(&[&["reload"], arguments, &[&socket]].concat()).output().unwrap()
    }

    fn prints(&self, arguments: &[&str]) -> String {
        let output = self.reload(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn allocate(&self, user: &str, password: &str) -> Result<(), u16> {
        Client::with(self.server.udp, user, password).allocate().map(|_| ())
    }
}

fn configuration(name: &str, more: &str) -> String {
    let users = std::env::temp_dir().join(format!("iceway-socket-{}-{name}/users", std::process::id()));
    format!("[auth]\nusers_file = {users:?}\n{more}")
}

#[test]
fn a_dry_run_says_what_would_change_and_changes_nothing() {
    let scene = Scene::new("dry");
    assert_eq!(scene.prints(&["--dry-run"]), "Nothing would change.\n");
    scene.configure("dry", "[log]\nlevel = \"warn\"\n[relay]\nport_max = 60000\n");
    fs::write(scene.scratch.path("users"), "carol:singer-of-carols\n").unwrap();
    let would = scene.prints(&["--dry-run"]);
    assert_eq!(
        would,
        "Would change:\n  auth.users_file (changed)\n  log.level: \"info\" → \"warn\"\n\
         Takes effect only after a restart:\n  relay.port_max: 65535 → 60000\n"
    );
    assert_eq!(scene.allocate("bob", "builder-of-things"), Ok(()));
    assert_eq!(scene.allocate("carol", "singer-of-carols"), Err(401));

    assert_eq!(scene.prints(&[]), would.replace("Would change:", "Reloaded:"));
    assert_eq!(scene.allocate("carol", "singer-of-carols"), Ok(()));
    assert_eq!(scene.allocate("bob", "builder-of-things"), Err(401));
    assert_eq!(
        scene.prints(&[]),
        "Reloaded; nothing changed.\nTakes effect only after a restart:\n  relay.port_max: 65535 → 60000\n",
        "what still waits for a restart is not forgotten"
    );
}

#[test]
fn a_wrong_configuration_changes_nothing_and_every_error_is_printed() {
    let scene = Scene::new("wrong");
    fs::write(scene.scratch.path("users"), "carol:singer-of-carols\n").unwrap();
    for (more, said) in [
        ("[log]\nlevel = \"loud\"\n[relay]\nport_max = 1\n", ["log.level = \"loud\"", "relay.port_max = 1"]),
        ("[log\n", ["iceway.toml:3", "is not TOML here"]),
        ("[api]\nkeys_file = \"/nowhere\"\n", ["/nowhere", "No such file"]),
        ("[http]\nclient_ca_file = \"/nowhere\"\n", ["http.client_ca_file", "/nowhere"]),
    ] {
        scene.configure("wrong", more);
        let output = scene.reload(&[]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{text}");
        assert!(
            text.contains("nothing was changed") && said.iter().all(|said| text.contains(said)),
            "{text}"
        );
        assert_eq!(scene.allocate("carol", "singer-of-carols"), Err(401), "{more}");
    }
    assert_eq!(scene.allocate("bob", "builder-of-things"), Ok(()));
    scene.configure("wrong", "");
    assert_eq!(scene.prints(&[]), "Reloaded:\n  auth.users_file (changed)\n");
}
