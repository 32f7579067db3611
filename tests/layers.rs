//! Holds the code against the table of layers and the house rules that no lint knows.

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Each layer with what it may use. Dependencies point down only.
const LAYERS: [(&str, &[&str]); 11] = [
    ("stun", &[]),
    ("credentials", &[]),
    ("turn", &["stun", "credentials"]),
    ("signaling", &["credentials"]),
    ("config", &["turn", "signaling", "credentials"]),
    ("telemetry", &[]),
    ("write_through", &[]),
    ("cluster", &["signaling", "credentials", "config", "telemetry", "write_through"]),
    ("runtime", &["turn", "stun", "credentials", "config", "telemetry"]),
    (
        "api",
        &[
            "cluster",
            "runtime",
            "turn",
            "stun",
            "signaling",
            "credentials",
            "config",
            "telemetry",
            "write_through",
        ],
    ),
    (
        "cli",
        &["api", "cluster", "runtime", "turn", "stun", "signaling", "credentials", "config", "telemetry"],
    ),
];

/// Layers without I/O, clock or randomness of their own.
const PURE: [&str; 4] = ["stun", "credentials", "turn", "signaling"];

/// What the pure layers must not name.
const IMPURE: [&str; 19] = [
    "tokio",
    "std::time::Instant",
    "std::time::SystemTime",
    "SystemTime::now",
    "std::net::UdpSocket",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::ToSocketAddrs",
    "std::os",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "rand",
    "getrandom",
    "libc",
    "socket2",
    "rustls",
    "tracing",
];

const LINES_MAX: usize = 700;

struct Source {
    path: PathBuf,
    /// Of the file, below the root of the crate: `runtime`, `stream`, `queue`.
    module: Vec<String>,
    /// Without comments, and without the contents of strings.
    code: String,
}

impl Source {
    fn layer(&self) -> &str {
        self.module.first().map_or("", String::as_str)
    }

    /// The code without its tests, which stand last.
    fn without_tests(&self) -> &str {
        self.code.split("#[cfg(test)]\nmod ").next().unwrap_or_default()
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources: Vec<Source> = rust_files(&root)
        .into_iter()
        .map(|path| {
            let below = path.strip_prefix(&root).unwrap().with_extension("");
            let mut module: Vec<String> =
                below.iter().map(|part| part.to_string_lossy().into_owned()).collect();
            module.pop_if(|last| ["mod", "lib", "main"].contains(&last.as_str()));
            let code = without_comments_and_strings(&fs::read_to_string(&path).unwrap());
            Source { path, module, code }
        })
        .collect();
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(sources.len() > 20, "the sources were found");
    sources
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

#[test]
fn every_layer_uses_only_what_is_below_it() {
    let mut faults = Vec::new();
    for source in sources() {
        let Some((_, allowed)) = LAYERS.iter().find(|(layer, _)| *layer == source.layer()) else { continue };
        for used in used_layers(&source) {
            if used != source.layer() && !allowed.contains(&used.as_str()) {
                faults.push(format!("{} uses crate::{used}", source.path.display()));
            }
        }
    }
    assert_eq!(faults, Vec::<String>::new());
}

#[test]
fn every_module_of_the_crate_is_a_layer() {
    let layers: BTreeSet<&str> = LAYERS.iter().map(|(layer, _)| *layer).collect();
    let sources = sources();
    let found: BTreeSet<&str> = sources.iter().map(Source::layer).filter(|layer| !layer.is_empty()).collect();
    assert_eq!(found, layers);
}

#[test]
fn pure_layers_name_no_clock_socket_file_or_runtime() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| PURE.contains(&source.layer())) {
        if source.module.last().is_some_and(|name| name == "tests") {
            continue;
        }
        for path in paths(source.without_tests()) {
            if IMPURE.iter().any(|impure| path == *impure || path.starts_with(&format!("{impure}::"))) {
                faults.push(format!("{} names {path}", source.path.display()));
            }
        }
    }
    assert_eq!(faults, Vec::<String>::new());
}

#[test]
fn unsafe_code_lives_in_the_system_calls_alone() {
    let mut faults = Vec::new();
    for source in sources() {
        let is_home = source.module.starts_with(&["runtime".to_owned(), "sys".to_owned()]);
        if !is_home && words(&source.code).any(|word| word == "unsafe") {
            faults.push(source.path);
        }
    }
    assert_eq!(faults, Vec::<PathBuf>::new());
}

#[test]
fn nothing_prints_past_the_log_and_the_terminal() {
    let mut faults = Vec::new();
    for source in sources() {
        for name in ["println!", "eprintln!", "print!", "eprint!", "dbg!"] {
            if source.without_tests().contains(name) {
                faults.push(format!("{} calls {name}", source.path.display()));
            }
        }
        let terminal = ["stdout()", "stderr()"];
        if source.layer() != "cli"
            && source.layer() != "telemetry"
            && terminal.iter().any(|name| source.without_tests().contains(name))
        {
            faults.push(format!("{} writes to the terminal", source.path.display()));
        }
    }
    assert_eq!(faults, Vec::<String>::new());
}

#[test]
fn files_stay_short() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut faults = Vec::new();
    for directory in ["src", "tests", "benches"].map(|name| root.join(name)) {
        if !directory.exists() {
            continue;
        }
        for path in rust_files(&directory) {
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            if lines > LINES_MAX {
                faults.push(format!("{} has {lines} lines", path.display()));
            }
        }
    }
    assert_eq!(faults, Vec::<String>::new());
}

/// The modules at the root of the crate that a file names, by whatever path.
fn used_layers(source: &Source) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for path in paths(&source.code) {
        let mut parts = path.split("::").peekable();
        let mut ups = 0;
        match parts.peek() {
            Some(&"crate" | &"iceway") => {
                parts.next();
            }
            Some(&"super") => {
                while parts.next_if_eq(&"super").is_some() {
                    ups += 1;
                }
                // A module inside a file, such as its tests, stands one deeper.
                if ups < source.module.len() {
                    continue;
                }
            }
            Some(_) | None => continue,
        }
        if let Some(layer) = parts.next().filter(|name| LAYERS.iter().any(|(layer, _)| layer == name)) {
            used.insert(layer.to_owned());
        }
    }
    used
}

/// Every path in the code, with the groups of `use` taken apart.
fn paths(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    let mut rest = code;
    while let Some(start) = rest.find(|c: char| c.is_alphabetic() || c == '_') {
        rest = &rest[start..];
        let (path, after) = one_path(rest);
        if let Some(group) = after.strip_prefix('{').filter(|_| path.ends_with("::")) {
            let end = end_of_group(group);
            for item in paths_in_group(&group[..end]) {
                paths.push(format!("{path}{item}"));
            }
            rest = &group[end..];
        } else {
            paths.push(path.trim_end_matches("::").to_owned());
            rest = after;
        }
    }
    paths
}

/// `a::b::c` at the beginning of `code`, and what follows.
fn one_path(code: &str) -> (&str, &str) {
    let mut end = 0;
    loop {
        let ident = code[end..].find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(code.len() - end);
        end += ident;
        if !code[end..].starts_with("::") {
            return code.split_at(end);
        }
        end += 2;
        if !code[end..].starts_with(|c: char| c.is_alphabetic() || c == '_') {
            return code.split_at(end);
        }
    }
}

fn end_of_group(group: &str) -> usize {
    let mut depth = 1;
    for (index, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return index;
        }
    }
    group.len()
}

fn paths_in_group(group: &str) -> Vec<String> {
    paths(group)
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
}

fn without_comments_and_strings(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(character) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
        } else if rest.starts_with("/*") {
            rest = rest.find("*/").map_or("", |end| &rest[end + 2..]);
        } else if let Some(raw) = rest.strip_prefix("r#\"") {
            rest = raw.find("\"#").map_or("", |end| &raw[end + 2..]);
        } else if character == '"' {
            rest = after_string(&rest[1..]);
            out.push_str("\"\"");
        } else if rest.starts_with("'\"'") || rest.starts_with("'/'") {
            rest = &rest[3..];
        } else {
            out.push(character);
            rest = &rest[character.len_utf8()..];
        }
    }
    out
}

fn after_string(mut rest: &str) -> &str {
    loop {
        let Some(index) = rest.find(['"', '\\']) else { return "" };
        if rest[index..].starts_with('"') {
            return &rest[index + 1..];
        }
        let skipped = rest[index + 1..].chars().next().map_or(1, char::len_utf8);
        rest = &rest[index + 1 + skipped..];
    }
}

#[test]
fn the_scanner_sees_through_groups_and_parents() {
    let source = |module: &[&str], code: &str| Source {
        path: PathBuf::new(),
        module: module.iter().map(|part| (*part).to_owned()).collect(),
        code: without_comments_and_strings(code),
    };
    let used = |module: &[&str], code: &str| -> Vec<String> {
        used_layers(&source(module, code)).into_iter().collect()
    };
    assert_eq!(used(&["turn", "x"], "use crate::{config::{A, B}, api};"), ["api", "config"]);
    assert_eq!(used(&["turn", "x"], "use super::super::{\n  runtime::Node,\n};"), ["runtime"]);
    assert_eq!(used(&["turn", "x"], "let x = super::super::cli::run();"), ["cli"]);
    assert!(used(&["turn", "x"], "use super::config; // crate::cli\nlet s = \"crate::api\";").is_empty());
    let found = paths("use std::{net::{IpAddr, UdpSocket}, time::Duration}; fn f() { tokio::spawn(x) }");
    for expected in ["std::net::UdpSocket", "std::time::Duration", "tokio::spawn"] {
        assert!(found.iter().any(|path| path == expected), "{expected} in {found:?}");
    }
}
