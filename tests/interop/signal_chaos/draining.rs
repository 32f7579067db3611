//! A node that is taken out of service with people on it who are being talked to.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::scene::{Scene, message, unlimited};
use crate::signal_support::{Came, Client, soon};

const CLIENTS: usize = 30;
const MESSAGES: usize = 150;
const PACE: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_node_that_drains_loses_no_session_and_no_frame() {
    // Over before the talkers are.
    let scene = Scene::start(3, unlimited().with("signal.drain_within", "\"8s\"")).await;
    let mut talkers = Vec::new();
    for at in 0..CLIENTS {
        let listener = scene.client(0, &format!("listener-{at}"), "phone").await;
        let talker = scene.client(1, &format!("talker-{at}"), "web").await;
        talkers.push((talker, listener));
    }
    scene.wait_until_known(1, &format!("listener-{}", CLIENTS - 1)).await;
    let scene = &scene;
    let conversations = talkers.into_iter().enumerate().map(|(at, (mut talker, listener))| async move {
        let to = listener.session().to_owned();
        let talk = async {
            for number in 0..MESSAGES {
                talker.send(message(&to, number)).await;
                tokio::time::sleep(PACE).await;
            }
            talker
        };
        tokio::join!(talk, listen(scene, listener, 1 + at % 2)).1
    });
    let drain = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        scene.nodes[0].signal(Signal::SIGTERM);
    };
    let (moves, ()) = tokio::join!(futures_util::future::join_all(conversations), drain);
    assert!(moves.iter().all(|&moves| moves == 1), "each moved once: {moves:?}");
}

/// Takes every message in order and moves to another node when it is told to; how often it moved.
async fn listen(scene: &Scene, mut client: Client, elsewhere: usize) -> usize {
    let (mut next, mut moves) = (0, 0);
    while next < MESSAGES {
        match soon("a message or the end", client.came()).await {
            Came::Frame(frame) if frame["type"] == "message" => {
                assert_eq!(frame["data"]["number"], next, "{frame}");
                next += 1;
            }
            Came::Frame(frame) => {
                let kind = frame["type"].as_str().unwrap_or_default();
                assert!(["draining", "ice-servers"].contains(&kind), "{frame}");
            }
            Came::Closed(code) => {
                assert_eq!(code, Some(4001), "drained");
                client = client.lose().resume(&scene.nodes[elsewhere]).await;
                moves += 1;
            }
        }
    }
    moves
}
