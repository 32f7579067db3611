//! Asking several at once.

use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::{Instant, timeout_at};

/// How long the others are waited for once one has answered.
const GRACE: Duration = Duration::from_secs(2);

/// What they said; `None`: nothing in time. Once one has succeeded, the others have a little longer; `is_enough` says
/// whether what came is worth no wait at all.
pub(super) async fn gather<T, E>(
    asks: impl Iterator<Item = impl Future<Output = Result<T, E>>>,
    is_enough: impl Fn(&[Option<Result<T, E>>]) -> bool,
) -> Vec<Option<Result<T, E>>> {
    let mut outstanding: FuturesUnordered<_> =
        asks.enumerate().map(|(place, ask)| async move { (place, ask.await) }).collect();
    let mut answers: Vec<Option<Result<T, E>>> =
        std::iter::repeat_with(|| None).take(outstanding.len()).collect();
    let mut until = None;
    loop {
        let next = match until {
            Some(until) => timeout_at(until, outstanding.next()).await.unwrap_or(None),
            None => outstanding.next().await,
        };
        let Some((place, answer)) = next else { return answers };
        if answer.is_ok() {
            until = until.or_else(|| Some(Instant::now() + GRACE));
        }
        if let Some(slot) = answers.get_mut(place) {
            *slot = Some(answer);
        }
        if is_enough(&answers) {
            return answers;
        }
    }
}

/// Whether an answer is there that none still to come goes before.
pub(super) fn has_first<T, E>(answers: &[Option<Result<T, E>>]) -> bool {
    answers.iter().find(|answer| !matches!(answer, Some(Err(_)))).is_some_and(Option::is_some)
}

#[cfg(test)]
mod tests {
    use std::{future::pending, pin::Pin};

    use super::*;

    type Ask = Pin<Box<dyn Future<Output = Result<u8, u8>>>>;

    async fn after(millis: u64, answer: Result<u8, u8>) -> Result<u8, u8> {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        answer
    }

    #[tokio::test]
    async fn the_others_have_a_little_longer_than_the_first() {
        let asks: Vec<Ask> = vec![
            Box::pin(pending()),
            Box::pin(after(20, Ok(1))),
            Box::pin(after(40, Ok(2))),
            Box::pin(after(1, Err(3))),
        ];
        let began = Instant::now();
        let answers = gather(asks.into_iter(), |_| false).await;
        assert_eq!(answers, [None, Some(Ok(1)), Some(Ok(2)), Some(Err(3))]);
        assert!(began.elapsed() >= GRACE);
    }

    #[tokio::test]
    async fn an_answer_that_none_goes_before_is_enough() {
        let asks: Vec<Ask> =
            vec![Box::pin(after(40, Err(0))), Box::pin(after(20, Ok(1))), Box::pin(pending())];
        let answers = gather(asks.into_iter(), has_first).await;
        assert_eq!(answers, [Some(Err(0)), Some(Ok(1)), None]);
    }
}
