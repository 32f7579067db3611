//! The oldest Redis that is supported, and Valkey, with the users that README.md tells to make.

use iceway::cluster::{
    ACL_RULE, ACL_RULE_CLUSTER, ACL_RULE_CLUSTER_6_2, ACL_RULE_CLUSTER_7_0, ACL_RULE_COTURN,
    ACL_RULE_COTURN_6_2,
};

use crate::{
    conformance::conform,
    layouts::{a_cluster_serves, coturn_is_read, the_acl_user_suffices},
    node::run,
    support_redis::{Options, Program, Redis},
};

/// What peers must do, as the documented user of a server that says it is this version.
fn conforms(program: Program, version: &str) {
    run(async {
        let lines = vec![format!("user iceway on >secret {ACL_RULE}")];
        let redis = Redis::start_with(Options { program, lines, ..Options::default() });
        let info = redis.text(&["INFO", "server"]);
        assert!(info.lines().any(|line| line.starts_with(version)), "{info}");
        conform(&redis.url_as("iceway", "secret")).await;
    });
}

#[test]
fn nodes_that_share_redis_6_2_do_what_peers_must() {
    conforms(Program::Redis62, "redis_version:6.2.");
}

#[test]
fn nodes_that_share_valkey_9_1_do_what_peers_must() {
    conforms(Program::Valkey, "valkey_version:9.1.");
}

#[test]
fn the_documented_acl_user_suffices_on_redis_6_2() {
    the_acl_user_suffices(Program::Redis62);
}

#[test]
fn the_documented_acl_user_suffices_on_valkey_9_1() {
    the_acl_user_suffices(Program::Valkey);
}

#[test]
fn a_cluster_of_redis_6_2_serves_without_sharded_channels() {
    a_cluster_serves(Program::Redis62, ACL_RULE_CLUSTER_6_2);
}

#[test]
fn a_cluster_of_valkey_9_1_serves() {
    a_cluster_serves(Program::Valkey, ACL_RULE_CLUSTER);
}

#[test]
fn users_and_secrets_of_coturn_are_found_on_redis_6_2() {
    coturn_is_read(Program::Redis62, ACL_RULE_COTURN_6_2);
}

#[test]
fn users_and_secrets_of_coturn_are_found_on_valkey_9_1() {
    coturn_is_read(Program::Valkey, ACL_RULE_COTURN);
}

#[test]
fn the_readme_names_the_rules_that_are_tested() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let command = words(&format!("ACL SETUSER iceway on >PASSWORD {ACL_RULE}"));
    assert!(readme.lines().any(|line| words(line) == command), "README.md lacks the line {command}");
    let readme = words(&readme);
    let cluster = [ACL_RULE_CLUSTER, ACL_RULE_CLUSTER_7_0, ACL_RULE_CLUSTER_6_2];
    for rule in cluster.into_iter().chain([ACL_RULE_COTURN, ACL_RULE_COTURN_6_2]) {
        // Between backticks, as one rule begins like another.
        let quoted = format!("`{}`", words(rule));
        assert!(readme.contains(&quoted), "README.md lacks {quoted}");
    }
}
