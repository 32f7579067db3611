//! The clock: time-limited credentials, certificates and the frames of nodes live by it.

use futures_util::future::join_all;

use super::{
    finding::{Check, Finding, Level, long},
    http::{Http, Reply, now},
    tls::Authorities,
};

/// HTTP tells whole seconds.
const SECONDS_MAX: u64 = 3;
/// Above this, credentials are refused before their time, or nodes refuse one another.
const SECONDS_BAD: u64 = 30;
const MEND: &str = "let chrony or systemd-timesyncd set the clock (timedatectl)";

/// Compares with the `Date` of each.
pub(super) async fn peers(urls: &[String], authorities: Option<&Authorities>) -> Vec<Finding> {
    join_all(urls.iter().map(|url| async move {
        let reply = match Http::url(url, None, authorities) {
            Ok(http) => http.get("/").await,
            Err(error) => Err(error.to_string()),
        };
        match reply {
            Ok(reply) => {
                against(&reply).unwrap_or_else(|| Check::ClockPeer.skipped("no Date in its answer")).of(url)
            }
            Err(why) => Check::ClockPeer.skipped(why).of(url),
        }
    }))
    .await
}

/// Compares with the `Date` of an answer that came just now.
pub(super) fn against(reply: &Reply) -> Option<Finding> {
    Some(judge(Check::ClockPeer, ahead(reply.date()?)))
}

/// By how many seconds a clock that told whole seconds is ahead of ours.
fn ahead(theirs: u64) -> i64 {
    let ours = now().as_secs();
    i64::try_from(theirs).unwrap_or(i64::MAX).saturating_sub_unsigned(ours)
}

/// What it means that another clock is ahead by so many seconds.
pub(super) fn judge(check: Check, ahead: i64) -> Finding {
    let off = ahead.unsigned_abs();
    let way = if ahead > 0 { "behind" } else { "ahead" };
    let fact = format!("this machine's clock is {} {way}", long(off));
    if off <= SECONDS_MAX {
        return check.ok("agrees");
    }
    let level = if off <= SECONDS_BAD { Level::Warning } else { Level::Failure };
    check.found(level, fact).mend(MEND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_a_warning_and_minutes_a_failure() {
        let found = [0, 3, -10, 3600].map(|ahead| judge(Check::ClockPeer, ahead));
        assert_eq!(found.clone().map(|it| it.level), [Level::Ok, Level::Ok, Level::Warning, Level::Failure]);
        assert_eq!(found[2].fact, "this machine's clock is 10 s ahead");
        assert_eq!(found[3].fact, "this machine's clock is 60 min behind");
    }
}
