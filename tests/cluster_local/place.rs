//! Where the file is.

use std::path::PathBuf;

use iceway::config::{self, Config, Sources};

fn loaded(environment: &[(&str, &str)]) -> Config {
    let environment = environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
    config::load(&Sources { environment, ..Sources::default() }).unwrap().config
}

#[test]
fn under_systemd_the_file_is_in_the_state_directory_unless_something_is_said() {
    let state = ("STATE_DIRECTORY", "/var/lib/iceway:/var/lib/other");
    assert_eq!(loaded(&[]).store.path, None);
    assert_eq!(loaded(&[("STATE_DIRECTORY", "")]).store.path, None);
    assert_eq!(loaded(&[state]).store.path, Some(PathBuf::from("/var/lib/iceway/iceway.redb")));
    let said = ("ICEWAY_STORE_PATH", "/srv/turn.redb");
    assert_eq!(loaded(&[state, said]).store.path, Some(PathBuf::from("/srv/turn.redb")));
    assert_eq!(loaded(&[state, ("ICEWAY_STORE_PATH", "off")]).store.path, None);
}

#[test]
fn the_origin_of_the_state_directory_is_told() {
    let environment = vec![("STATE_DIRECTORY".into(), "/var/lib/iceway".into())];
    let loaded = config::load(&Sources { environment, ..Sources::default() }).unwrap();
    let line = loaded.show();
    let line = line.lines().find(|line| line.starts_with("path = ")).unwrap();
    assert!(line.contains("STATE_DIRECTORY"), "{line}");
}
