//! Everything over each layout of Redis: a user with the least permissions, TLS, sentinels, a Cluster.

use std::time::Duration;

use iceway::{
    cluster::{ACL_RULE, ACL_RULE_CLUSTER_7_0, ACL_RULE_COTURN, SecretSource},
    config::{Config, SecretBytes},
};

use crate::{
    exercise::everything,
    node::{TestNode, config, revocation, run, three, together, until, within},
    support_redis::{Authority, Options, Program, Redis, RedisCluster, Sentinels},
};

const PASSWORD: &str = "p4ss/word:with@signs";

/// A configuration line with the user that the documentation tells to make.
fn user_line(rules: &[&str]) -> String {
    format!("user iceway on >{PASSWORD} {}", rules.join(" "))
}

/// A configuration as this user.
fn config_as_user(url: &str) -> Config {
    let mut config = config(&url.replacen("://", "://iceway@", 1));
    config.redis.password = Some(SecretBytes::new(PASSWORD.as_bytes()));
    config
}

#[test]
fn the_documented_acl_user_suffices_and_may_do_nothing_else() {
    the_acl_user_suffices(Program::Debian);
}

/// Everything with the documented user, who may do nothing else.
pub(crate) fn the_acl_user_suffices(program: Program) {
    run(async {
        let options = Options { program, lines: vec![user_line(&[ACL_RULE])], ..Options::default() };
        let redis = Redis::start_with(options);
        redis.command(&["SET", "foreign", "x"]);
        let nodes = three(&config_as_user(&redis.url())).await;
        everything(&nodes).await;
        let denied = redis.text(&["INFO", "stats"]);
        let denied = denied.lines().find(|line| line.starts_with("acl_access_denied_cmd"));
        assert!(denied.is_none_or(|line| line.ends_with(":0")), "{denied:?}");
        let log: Vec<redis::Value> = redis::from_redis_value(redis.command(&["ACL", "LOG"])).unwrap();
        assert!(log.is_empty(), "what nodes do is denied: {log:?}");
        for words in [
            &["GET", "foreign"][..],
            &["SET", "other", "x"],
            &["KEYS", "*"],
            &["SCAN", "0"],
            &["FLUSHALL"],
            &["CONFIG", "GET", "*"],
            &["SAVE"],
            &["DEBUG", "SLEEP", "0"],
            &["PUBLISH", "foreign", "x"],
            &["SUBSCRIBE", "foreign"],
            &["ACL", "LIST"],
            &["EVAL", "return redis.call('GET', 'foreign')", "0"],
            &["SHUTDOWN"],
            &["CLIENT", "LIST"],
            &["MONITOR"],
        ] {
            let url_password = PASSWORD.replace('/', "%2F").replace(':', "%3A").replace('@', "%40");
            let answer = redis.try_command_as("iceway", &url_password, words);
            let error = answer.expect_err(&words.join(" ")).to_string();
            let is_denied = error.to_lowercase().contains("perm") || error.contains("can't access");
            assert!(is_denied, "{words:?}: {error}");
        }
    });
}

#[test]
fn nodes_work_over_tls_with_client_certificates() {
    run(async {
        let options = Options { tls: true, lines: vec![user_line(&[ACL_RULE])], ..Options::default() };
        let redis = Redis::start_with(options);
        let config = config_as_user(&redis.tls_url());
        let untrusting = TestNode::start_with("x", &config);
        until(|| untrusting.reason().contains("cannot be used"), || untrusting.reason()).await;
        untrusting.cluster.close().await.unwrap();
        let nodes = three(&trusting(config, redis.authority())).await;
        everything(&nodes).await;
        let clients = redis.text(&["CLIENT", "LIST"]);
        assert_eq!(clients.matches("user=iceway").count(), 6, "two connections of each node: {clients}");
    });
}

/// With the certificates of an authority.
fn trusting(mut config: Config, authority: &Authority) -> Config {
    config.redis.ca_file = Some(authority.certificate.clone());
    config.redis.certificate = Some(authority.client_certificate.clone());
    config.redis.private_key = Some(authority.client_key.clone());
    config
}

#[test]
fn a_cluster_is_reached_over_tls() {
    run(async {
        let cluster = RedisCluster::start_with(&Options { tls: true, ..Options::default() });
        let nodes = three(&trusting(config(&cluster.tls_url()), cluster.masters[0].authority())).await;
        everything(&nodes).await;
    });
}

#[test]
fn sentinels_and_their_master_are_reached_over_tls() {
    run(async {
        let sentinels = Sentinels::start_with(&Options { tls: true, ..Options::default() });
        let nodes = three(&trusting(config(&sentinels.tls_url()), sentinels.first.authority())).await;
        everything(&nodes).await;
    });
}

#[test]
fn nodes_follow_sentinels_through_a_failover() {
    run(async {
        let options = Options { lines: vec![user_line(&[ACL_RULE])], ..Options::default() };
        let sentinels = std::sync::Arc::new(Sentinels::start_with(&options));
        let nodes = three(&config_as_user(&sentinels.url())).await;
        everything(&nodes).await;
        nodes[0].relay.quotas.set("bob", 9);
        let failing = std::sync::Arc::clone(&sentinels);
        tokio::task::spawn_blocking(move || failing.fail_over()).await.unwrap();
        let begin = std::time::Instant::now();
        for node in &nodes {
            within(Duration::from_secs(30), || node.is_connected(), || node.reason()).await;
        }
        together(&nodes).await;
        eprintln!("three nodes were connected to the new master {:?} after it was named", begin.elapsed());
        nodes[1].cluster.revoke(revocation("after", "bob")).await.unwrap();
        until(|| nodes.iter().all(|node| node.knows("after")), || "a revocation is missing".to_owned()).await;
        until(|| nodes[2].relay.quotas.of("bob") == 9, || "a quota is missing".to_owned()).await;
        let keys = || sentinels.second.keys();
        until(|| keys().iter().any(|key| key == "iceway:{rows}:revocations"), || format!("{:?}", keys()))
            .await;
    });
}

#[test]
fn nodes_work_with_a_cluster_of_three_masters() {
    a_cluster_serves(Program::Debian, ACL_RULE_CLUSTER_7_0);
}

/// Everything with three masters that share the slots, and when they lost what they had.
pub(crate) fn a_cluster_serves(program: Program, rule: &str) {
    run(async {
        let lines = vec![user_line(&[ACL_RULE, rule])];
        let cluster = RedisCluster::start_with(&Options { program, lines, ..Options::default() });
        let nodes = three(&config_as_user(&cluster.url())).await;
        everything(&nodes).await;
        for key in cluster.keys() {
            assert!(key.starts_with("iceway:{"), "{key}");
        }
        for master in &cluster.masters {
            let log: Vec<redis::Value> = redis::from_redis_value(master.command(&["ACL", "LOG"])).unwrap();
            assert!(log.is_empty(), "what nodes do is denied: {log:?}");
        }
        // A master that comes back empty has lost what it held; nodes tell it again.
        for master in &cluster.masters {
            master.command(&["FLUSHALL"]);
        }
        let has_rows = || cluster.keys().iter().any(|key| key == "iceway:{rows}:revocations");
        within(Duration::from_secs(25), has_rows, || format!("{:?}", cluster.keys())).await;
        let revoked = nodes[2].cluster.revoke(revocation("after", "bob")).await.unwrap();
        assert!(revoked.nodes.iter().all(|(_, cut)| cut.is_ok()), "{:?}", revoked.nodes);
    });
}

#[test]
fn a_cluster_whose_masters_hang_is_noticed_and_found_again() {
    run(async {
        let cluster = RedisCluster::start();
        let nodes = three(&config(&cluster.url())).await;
        for master in &cluster.masters {
            master.pause();
        }
        for node in &nodes {
            within(Duration::from_secs(6), || !node.is_connected(), || "it says that all is well".to_owned())
                .await;
        }
        for master in &cluster.masters {
            master.resume();
        }
        for node in &nodes {
            within(Duration::from_secs(20), || node.is_connected(), || node.reason()).await;
        }
        together(&nodes).await;
    });
}

#[test]
fn users_and_secrets_of_coturn_are_found() {
    coturn_is_read(Program::Debian, ACL_RULE_COTURN);
}

/// Users and secrets where coturn keeps them.
pub(crate) fn coturn_is_read(program: Program, rule: &str) {
    run(async {
        let lines = vec![user_line(&[ACL_RULE, rule])];
        let redis = Redis::start_with(Options { program, lines, ..Options::default() });
        // What turnadmin writes for the password "hello" of ninefingers in north.gov.
        let key = "bc807ee29df3c9ffa736523fb2c4e8ee";
        redis.command(&["SET", "turn/realm/north.gov/user/ninefingers/key", key]);
        redis.command(&["SADD", "turn/realm/north.gov/secret", "logen-is-a-secret"]);
        let mut config = config_as_user(&redis.url());
        config.auth.realm = "north.gov".to_owned();
        config.redis.coturn_users = true;
        let node = TestNode::start_with("a", &config);
        until(|| node.is_connected(), || node.reason()).await;
        let found = node.cluster.find_user("north.gov", "ninefingers").await.unwrap();
        assert_eq!(found[..2], [0xbc, 0x80]);
        assert_eq!(node.cluster.find_user("north.gov", "nobody").await, None);
        // The secret mints, as it is the only one, and another one takes its place when it is there instead.
        let secrets = || node.cluster.directory().secrets().len();
        until(|| secrets() == 1, || format!("{} secrets", secrets())).await;
        let before = node.cluster.secrets().await;
        assert!(
            before[0].id.starts_with("coturn-") && before[0].source == SecretSource::Configuration,
            "{before:?}"
        );
        redis.command(&["SADD", "turn/realm/north.gov/secret", "another-secret"]);
        redis.command(&["SREM", "turn/realm/north.gov/secret", "logen-is-a-secret"]);
        let mut after = before.clone();
        for _ in 0..400 {
            after = node.cluster.secrets().await;
            if after != before {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(after.len() == 1 && after[0].id != before[0].id, "{after:?}");
        redis.command(&["SET", "turn/realm/north.gov/user/plain/key", "a password"]);
        assert_eq!(node.cluster.find_user("north.gov", "plain").await, None);
        let log: Vec<redis::Value> = redis::from_redis_value(redis.command(&["ACL", "LOG"])).unwrap();
        assert!(log.is_empty(), "what nodes do is denied: {log:?}");
        assert_eq!(redis.command_counts().get("keys"), None);
    });
}

#[test]
fn an_idle_node_gives_few_commands() {
    run(async {
        let redis = Redis::start();
        let nodes = three(&config(&redis.url())).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let before = redis.command_counts();
        let seconds = 30;
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let after = redis.command_counts();
        let mut sum = 0;
        let mut shown = String::new();
        for (name, count) in &after {
            let given = count - before.get(name).copied().unwrap_or(0);
            if given > 0 && name != "info" && name != "auth" {
                sum += given;
                shown.push_str(&format!("{name} {given}, "));
            }
        }
        let rate = sum as f64 / seconds as f64 / nodes.len() as f64;
        eprintln!("commands of one idle node per second, those inside scripts included: {rate:.2} ({shown})");
        assert!(rate <= 2.0, "{rate:.2}: {shown}");
    });
}
