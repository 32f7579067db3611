//! The harness does what its page says.

use crate::support_redis::{Options, Redis, RedisCluster, Sentinels};

#[test]
fn a_server_comes_back_empty_on_the_same_port() {
    let redis = Redis::start();
    redis.command(&["SET", "a", "b"]);
    redis.restart();
    assert!(redis.keys().is_empty());
}

#[test]
fn a_server_has_a_tls_port_and_users() {
    let line = "user someone on >secret ~a* +get".to_owned();
    let redis = Redis::start_with(Options { tls: true, lines: vec![line], ..Options::default() });
    assert!(redis.tls_url().starts_with("rediss://"));
    assert!(redis.authority().client_key.exists());
    redis.try_command_as("someone", "secret", &["GET", "a"]).unwrap();
    redis.try_command_as("someone", "secret", &["GET", "b"]).unwrap_err();
}

#[test]
fn sentinels_name_the_other_server_when_the_master_dies() {
    let sentinels = Sentinels::start();
    assert_eq!(sentinels.master_port(), sentinels.first.port());
    sentinels.fail_over();
    assert_eq!(sentinels.master_port(), sentinels.second.port());
}

#[test]
fn three_masters_share_the_slots() {
    let cluster = RedisCluster::start();
    assert_eq!(cluster.url().matches("127.0.0.1").count(), 3);
    assert!(cluster.keys().is_empty());
}
