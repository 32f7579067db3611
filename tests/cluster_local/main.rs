//! The cluster without Redis: one node, its file, and nodes that share a process.

#![allow(clippy::unwrap_used)]

#[path = "../cluster_conformance/mod.rs"]
mod conformance;

mod alone;
mod kill;
mod many;
mod mesh;
mod place;

use std::{fs, path::PathBuf};

/// A directory that goes with its test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("iceway-cluster-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("iceway.redb")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}
