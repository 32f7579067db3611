//! One node, in memory and with a file.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use iceway::{config::RetryWait, credentials::webhook::WebhookSecret};
use rustls::ServerConfig;

use crate::{
    is_complete,
    node::{Node, config, in_file},
    receiver::{Mode, PATIENCE, Receiver},
    support_redis::Scratch,
};

#[test]
fn events_arrive_signed_and_in_order() {
    let receiver = Receiver::start(Mode::Answer(200));
    let node = Node::start("n1", &config(&receiver.url()));
    for sequence in 1..=5 {
        for call in 0..20 {
            node.record(&format!("c_{call}"), sequence);
        }
    }
    is_complete(&receiver.wait_taken(100), 20, 5);
    assert_eq!(receiver.seen().len(), 100, "nothing comes twice while all is well");
    assert_eq!(node.calls(0).0.len(), 20);
}

#[test]
fn both_secrets_sign_while_one_replaces_the_other() {
    let receiver = Receiver::with(Mode::Answer(204), None, &["the-secret-of-the-time-before"]);
    let mut config = config(&receiver.url());
    config.webhooks.secrets.push(WebhookSecret::parse("the-secret-of-the-time-before").unwrap());
    let node = Node::start("n1", &config);
    node.record("c_1", 1);
    receiver.wait_seen(1);
    assert_eq!(receiver.seen()[0].signatures, 2);
}

#[test]
fn a_receiver_that_is_down_for_ten_minutes_gets_everything_in_order_though_the_node_restarts() {
    let directory = Scratch::new("webhooks");
    let receiver = Receiver::start(Mode::Answer(200));
    let config = in_file(config(&receiver.url()), &directory.path().join("store"));
    let mut node = Node::start("n1", &config);
    let began = Instant::now();
    let mut went_down = None;
    for sequence in 1..=60u32 {
        for call in 0..10 {
            node.record(&format!("c_{call}"), sequence);
        }
        // Ten minutes of the schedule: six seconds of ours.
        match sequence {
            5 => {
                receiver.set(Mode::Down);
                went_down = Some(Instant::now());
            }
            30 => {
                drop(node);
                node = Node::start("n1", &config);
            }
            _ => {}
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let down_until = went_down.unwrap() + Duration::from_secs(6);
    std::thread::sleep(down_until.saturating_duration_since(Instant::now()));
    receiver.set(Mode::Answer(200));
    let up = Instant::now();
    is_complete(&receiver.wait_taken(600), 10, 60);
    assert!(up.elapsed() < Duration::from_secs(10), "{:?} of {:?}", up.elapsed(), began.elapsed());
}

#[test]
fn one_call_that_is_refused_holds_up_no_other() {
    let receiver = Receiver::start(Mode::Answer(200));
    receiver.set_for("c_0", 500);
    let node = Node::start("n1", &config(&receiver.url()));
    for sequence in 1..=3 {
        for call in 0..5 {
            node.record(&format!("c_{call}"), sequence);
        }
    }
    receiver.wait_taken(12);
    assert!(receiver.taken().iter().all(|seen| seen.body["call"]["id"] != "c_0"));
    receiver.set_for("c_0", 200);
    is_complete(&receiver.wait_taken(15), 5, 3);
}

#[test]
fn what_nobody_takes_in_time_is_put_aside_and_told_again_when_asked_for() {
    let receiver = Receiver::start(Mode::Answer(503));
    let mut config = config(&receiver.url());
    config.webhooks.retry_for = Duration::from_millis(200);
    let node = Node::start("n1", &config);
    node.record("c_1", 1);
    node.record("c_1", 2);
    node.until(|node| node.dead() == 2);
    receiver.set(Mode::Answer(200));
    assert_eq!(node.replay(), 2);
    is_complete(&receiver.wait_taken(2), 1, 2);
    assert_eq!(node.dead(), 0);
}

#[test]
fn a_receiver_that_is_gone_is_left_alone_until_the_configuration_is_read_again() {
    let receiver = Receiver::start(Mode::Answer(410));
    let config = config(&receiver.url());
    let node = Node::start("n1", &config);
    node.record("c_1", 1);
    node.until(|node| node.sender.as_ref().unwrap().figures().is_disabled());
    node.record("c_2", 1);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(receiver.seen().len(), 1);
    receiver.set(Mode::Answer(200));
    node.sender.as_ref().unwrap().reload(&config.webhooks);
    is_complete(&receiver.wait_taken(2), 2, 1);
}

#[test]
fn a_receiver_that_says_nothing_costs_its_time_and_no_more_than_so_many_requests() {
    let receiver = Receiver::start(Mode::Silent);
    let mut config = config(&receiver.url());
    config.webhooks.timeout = Duration::from_millis(300);
    config.webhooks.parallel_max = 4;
    let node = Node::start("n1", &config);
    for call in 0..20 {
        node.record(&format!("c_{call}"), 1);
    }
    receiver.wait_seen(8);
    receiver.set(Mode::Answer(200));
    receiver.set_delay(Duration::from_millis(20));
    is_complete(&receiver.wait_taken(20), 20, 1);
    assert!(receiver.busiest() <= 4, "{}", receiver.busiest());
}

#[test]
fn https_is_verified() {
    let directory = Scratch::new("webhooks-tls");
    let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (right, wrong) = (directory.path().join("right.pem"), directory.path().join("wrong.pem"));
    std::fs::write(&right, key.cert.pem()).unwrap();
    std::fs::write(&wrong, other.cert.pem()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], key.signing_key.serialize_der().try_into().unwrap())
        .unwrap();
    let receiver = Receiver::with(Mode::Answer(200), Some(Arc::new(tls)), &[crate::receiver::SECRET]);
    let mut config = config(&receiver.url());
    config.webhooks.retries = vec![RetryWait(Duration::from_millis(50))];
    config.webhooks.ca_file = Some(wrong);
    let node = Node::start("n1", &config);
    node.record("c_1", 1);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(receiver.seen().len(), 0, "an unknown authority is not believed");
    config.webhooks.ca_file = Some(right);
    node.sender.as_ref().unwrap().reload(&config.webhooks);
    is_complete(&receiver.wait_taken(1), 1, 1);
}

#[test]
fn nothing_is_sent_that_is_not_signed_with_a_secret_the_receiver_knows() {
    let receiver = Receiver::with(Mode::Answer(200), None, &["a-secret-that-nobody-else-has"]);
    let node = Node::start("n1", &config(&receiver.url()));
    node.record("c_1", 1);
    let deadline = Instant::now() + PATIENCE;
    while receiver.forged() == 0 {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
}
