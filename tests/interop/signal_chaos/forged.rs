//! Whoever can write to Redis hears nothing, says nothing for others and stops nobody.

use std::time::Duration;

use super::scene::{Scene, call, expect_numbers, message, unlimited};

/// Frames of the nodes that are recorded.
const RECORDED: usize = 40;

#[tokio::test]
async fn frames_recorded_changed_and_played_again_have_no_effect() {
    let scene = Scene::start(2, unlimited()).await;
    let mut ann = scene.client(0, "ann", "web").await;
    let mut bob = scene.client(1, "bob", "phone").await;
    scene.wait_until_known(0, "bob").await;
    let url = scene.redis.url();
    let tap = std::thread::spawn(move || record(&url));
    call(&mut ann, &mut bob, "bob", "c_forged").await;
    let mut sent = 0;
    while !tap.is_finished() {
        ann.send(message(bob.session(), sent)).await;
        expect_numbers(&mut bob, sent..sent + 1).await;
        sent += 1;
    }
    let recorded = tap.join().unwrap();
    let told = recorded.iter().any(|(_, bytes)| find(bytes, b"c_forged") || find(bytes, b"number"));
    assert!(!told, "nothing readable passes through Redis");

    let before = refused(&scene);
    let channels: Vec<String> = recorded.iter().map(|(channel, _)| channel.clone()).collect();
    for (at, (channel, bytes)) in recorded.iter().enumerate() {
        publish(&scene, channel, bytes);
        publish(&scene, &channels[(at + 1) % channels.len()], bytes);
        let mut changed = bytes.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 0x40;
        publish(&scene, channel, &changed);
        publish(&scene, channel, &bytes[..middle]);
    }
    for garbage in [&b""[..], b"\0", b"{}", &[0xff; 4096]] {
        publish(&scene, &channels[0], garbage);
    }
    for number in sent..sent + 20 {
        ann.send(message(bob.session(), number)).await;
    }
    expect_numbers(&mut bob, sent..sent + 20).await;
    bob.expect_silence(Duration::from_millis(300)).await;
    ann.expect_silence(Duration::from_millis(300)).await;
    assert!(refused(&scene) > before, "what was forged is counted");
}

/// What the nodes publish next.
fn record(url: &str) -> Vec<(String, Vec<u8>)> {
    let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
    let mut tap = connection.as_pubsub();
    tap.psubscribe("iceway:*").unwrap();
    tap.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut recorded = Vec::new();
    while recorded.len() < RECORDED {
        let message = tap.get_message().unwrap();
        recorded.push((message.get_channel_name().to_owned(), message.get_payload_bytes().to_vec()));
    }
    recorded
}

fn publish(scene: &Scene, channel: &str, bytes: &[u8]) {
    let mut connection = redis::Client::open(scene.redis.url()).unwrap().get_connection().unwrap();
    redis::cmd("PUBLISH").arg(channel).arg(bytes).query::<u64>(&mut connection).unwrap();
}

/// Frames that the nodes refused so far.
fn refused(scene: &Scene) -> f64 {
    scene.nodes.iter().map(|node| node.metric("iceway_cluster_frames_refused_total", &[])).sum()
}

fn find(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}
