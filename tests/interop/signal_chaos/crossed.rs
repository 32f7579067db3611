//! People who call one another at the same moment.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::scene::{Scene, answer, candidates, expect_candidates, offer, unlimited};
use crate::signal_support::Client;

const COUPLES: usize = 1000;
/// Couples that call at the same moment.
const AT_ONCE: usize = 250;

#[tokio::test]
async fn of_a_thousand_crossed_offers_each_becomes_one_call() {
    let scene = Scene::start(2, unlimited()).await;
    let mut couples = Vec::new();
    for at in 0..COUPLES {
        couples.push((
            scene.client(0, &format!("left-{at}"), "web").await,
            scene.client(1, &format!("right-{at}"), "web").await,
        ));
    }
    scene.wait_until_known(0, &format!("right-{}", COUPLES - 1)).await;
    scene.wait_until_known(1, &format!("left-{}", COUPLES - 1)).await;
    let mut crossed = 0;
    for (round, some) in couples.chunks_mut(AT_ONCE).enumerate() {
        let calls =
            some.iter_mut().enumerate().map(|(at, couple)| become_one_call(couple, round * AT_ONCE + at));
        crossed += join_all(calls).await.iter().filter(|&&crossed| crossed).count();
    }
    assert!(crossed > COUPLES / 2, "only {crossed} of {COUPLES} offers crossed");
}

/// Both offer; the call with the lesser id is left and is answered. Whether the offers crossed on the way: otherwise one
/// was refused because the other was known already.
async fn become_one_call((left, right): &mut (Client, Client), at: usize) -> bool {
    // Either side's is the lesser one in turn.
    let (a, b) = if at.is_multiple_of(2) { ("a", "b") } else { ("b", "a") };
    let (from_left, from_right) = (format!("c_{a}_{at}"), format!("c_{b}_{at}"));
    let left_offer = offer(&from_left, &format!("right-{at}"));
    let right_offer = offer(&from_right, &format!("left-{at}"));
    let (to_left, to_right) = tokio::join!(left.answer_to(left_offer), right.answer_to(right_offer));
    let winner = from_left.clone().min(from_right.clone());
    let ((winning, won), (losing, lost), loser) = if winner == from_left {
        ((left, to_left), (right, to_right), from_right)
    } else {
        ((right, to_right), (left, to_left), from_left)
    };
    assert_eq!(won["type"], "ok", "the lesser one is taken: {won}");
    let was_taken = lost["type"] == "ok";
    if !was_taken {
        assert_eq!((&lost["code"], &lost["details"]["call"]), (&json!("glare"), &json!(winner)), "{lost}");
    }
    // The losing side gets the winning offer, and is told once that its own is over if it was taken.
    let mut expected = if was_taken { 2 } else { 1 };
    while expected > 0 {
        let frame = losing.next().await;
        match frame["type"].as_str() {
            Some("call-offer") => assert_eq!(frame["call"], winner, "{frame}"),
            Some("call-cancelled") => {
                assert_eq!((&frame["call"], &frame["reason"]), (&json!(loser), &json!("glare")), "{frame}");
            }
            _ => panic!("{frame}"),
        }
        expected -= 1;
    }
    losing.request(answer(&winner)).await;
    assert_eq!(answer_of(winning, &loser).await["call"], winner);
    losing.send(candidates(&winner, at)).await;
    expect_candidates(winning, at..at + 1).await;
    was_taken
}

/// The answer; the losing offer may have rung here first, and then it is cancelled.
async fn answer_of(client: &mut Client, loser: &str) -> Value {
    loop {
        let frame = client.next().await;
        match frame["type"].as_str() {
            Some("call-answer") => return frame,
            Some("call-offer" | "call-cancelled") => assert_eq!(frame["call"], loser, "{frame}"),
            _ => panic!("{frame}"),
        }
    }
}
