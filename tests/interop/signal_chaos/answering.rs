//! Several devices that answer at once.

use serde_json::{Value, json};

use super::scene::{Scene, answer, offer, unlimited};
use crate::signal_support::Client;

const ROUNDS: usize = 20;

#[tokio::test]
async fn of_three_devices_on_three_nodes_that_answer_at_once_one_wins() {
    let scene = Scene::start(3, unlimited()).await;
    let mut winners = [0; 3];
    for round in 0..ROUNDS {
        // People of their own in each round, so that nobody calls too often.
        let (caller, callee) = (format!("ann-{round}"), format!("bob-{round}"));
        let mut ann = scene.client(round % 3, &caller, "web").await;
        let mut devices = [
            scene.client(0, &callee, "web").await,
            scene.client(1, &callee, "phone").await,
            scene.client(2, &callee, "tablet").await,
        ];
        #[allow(clippy::needless_range_loop)]
        for device in 0..3 {
            wait_for_device(&scene, round % 3, devices[device].session()).await;
        }
        let call = format!("c_{round}");
        let answered = ann.request(offer(&call, &callee)).await;
        assert_eq!(answered["delivered"], 3, "{answered}");
        for device in &mut devices {
            device.wait_for("call-offer").await;
        }
        let [first, second, third] = &mut devices;
        let (first, second, third) = tokio::join!(
            first.answer_to(answer(&call)),
            second.answer_to(answer(&call)),
            third.answer_to(answer(&call)),
        );
        let answers = [first, second, third];
        let won: Vec<usize> = (0..3).filter(|&at| answers[at]["type"] == "ok").collect();
        assert_eq!(won.len(), 1, "exactly one wins: {answers:?}");
        winners[won[0]] += 1;
        for (at, device) in devices.iter_mut().enumerate() {
            if at != won[0] {
                lost(device, &answers[at]).await;
            }
        }
        let frame = ann.wait_for("call-answer").await;
        assert_eq!(frame["from"]["session"], devices[won[0]].session(), "{frame}");
        ann.request(json!({ "type": "call-hangup", "call": call, "reason": "user" })).await;
        devices[won[0]].wait_for("call-hangup").await;
    }
    assert_eq!(winners.iter().sum::<usize>(), ROUNDS);
}

/// A device that was not first knows it, by its answer and by the call being cancelled.
async fn lost(device: &mut Client, answer: &Value) {
    assert_eq!(
        (&answer["type"], &answer["code"]),
        (&json!("error"), &json!("answered-elsewhere")),
        "{answer}"
    );
    let frame = device.expect("call-cancelled").await;
    assert_eq!(frame["reason"], "answered-elsewhere", "{frame}");
}

/// Waits until a node can send to a session of another.
async fn wait_for_device(scene: &Scene, at: usize, session: &str) {
    let mut probe = scene.client(at, "probe", "probe").await;
    loop {
        let hello = json!({ "type": "message", "to": { "session": session }, "data": null });
        let answer = probe.answer_to(hello).await;
        if answer["type"] == "ok" {
            break;
        }
        assert!(
            ["not-found", "peer-offline"].contains(&answer["code"].as_str().unwrap_or_default()),
            "{answer}"
        );
    }
    probe.send(json!({ "type": "bye" })).await;
}
