//! Looking at the start, and going on looking.

use std::{net::IpAddr, time::Duration};

use tokio::time::{Instant, sleep};

use super::{
    AddressOrigin, Found, LookCounts, Mapping,
    gather::gather,
    look::{LOOK_MAX, Search, candidates, family},
    remoteness,
};
use crate::config::Relay;

/// How soon an address that was not found is looked for again, at the latest.
const AGAIN_MAX: Duration = Duration::from_secs(5);
/// What to do about one that is not found.
const MEND: &str =
    "see that UDP goes out to the server and that the names are right, or write the address itself";

/// Nothing is found, and no relay address is public by itself: nobody outside could be relayed to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no public address is found within {seconds} s, and peers on the internet do not reach {locals}: {why}; {MEND}", seconds = LOOK_MAX.as_secs())]
pub struct NotFound {
    /// What clients would be told instead.
    pub locals: String,
    /// Why not, for each place that was looked at.
    pub why: String,
}

/// Finds out by which addresses peers reach this machine.
#[derive(Debug)]
pub struct Finder {
    relay: Relay,
    families: [Family; 2],
    counts: LookCounts,
}

/// What is known of the addresses of one family.
#[derive(Debug)]
struct Family {
    is_ipv4: bool,
    /// The local addresses that it is looked for.
    locals: Vec<IpAddr>,
    /// Only what is not written down.
    found: Vec<Mapping>,
    /// Whether somebody was told that nothing is found.
    is_missed: bool,
}

/// What a look says; `None`: it was not waited for.
type Looked = Option<Result<Vec<Mapping>, String>>;

impl Finder {
    /// For a relay that listens on these addresses. `None` if everything is written down, or nothing.
    #[must_use]
    pub fn new(relay: &Relay, listening: &[IpAddr]) -> Option<Self> {
        if !relay.is_found() {
            return None;
        }
        let mut locals: Vec<IpAddr> = Vec::new();
        for ip in relay.addresses.iter().chain(listening) {
            if !locals.contains(ip) {
                locals.push(*ip);
            }
        }
        let families = [true, false].map(|is_ipv4| Family::new(relay, &locals, is_ipv4));
        let finder = Self { relay: relay.clone(), families, counts: LookCounts::default() };
        finder.families.iter().any(|family| !family.locals.is_empty()).then_some(finder)
    }

    /// Looks for the first time, for 10 s at most. What is not found, but can be done without, is logged.
    ///
    /// # Errors
    /// [`NotFound`].
    pub async fn first(&mut self) -> Result<(), NotFound> {
        self.first_within(LOOK_MAX).await
    }

    async fn first_within(&mut self, time_max: Duration) -> Result<(), NotFound> {
        let looked = self.look(time_max).await;
        let mut why = Vec::new();
        for (family, looked) in self.families.iter_mut().zip(looked) {
            match looked {
                Some(Ok(found)) => family.found = found,
                Some(Err(fault)) => why.push((family.is_ipv4, fault)),
                None => {}
            }
        }
        let is_public = |ip: &IpAddr| remoteness(*ip) == 0;
        let mut locals = self.families.iter().flat_map(|family| &family.locals);
        if self.found().mappings().is_empty() && !locals.any(is_public) {
            let locals: Vec<String> =
                self.families.iter().flat_map(|family| &family.locals).map(IpAddr::to_string).collect();
            let why: Vec<String> = why.into_iter().map(|(_, fault)| fault).collect();
            return Err(NotFound { locals: locals.join(", "), why: why.join("; ") });
        }
        for family in self.families.iter_mut().filter(|family| family.found.is_empty()) {
            let fault = why.iter().find(|(is_ipv4, _)| *is_ipv4 == family.is_ipv4);
            family.miss(fault.map_or("no answer yet", |(_, fault)| fault));
        }
        Ok(())
    }

    /// Waits until it is time, and looks again. An address that differs counts when it is found twice in a row.
    pub async fn next(&mut self) {
        sleep(self.pause()).await;
        let mut looked = self.look(LOOK_MAX).await;
        if self.families.iter().zip(&looked).any(|(family, looked)| family.differs(looked)) {
            looked = agreed(looked, self.look(LOOK_MAX).await);
        }
        for (family, looked) in self.families.iter_mut().zip(looked) {
            if !family.locals.is_empty() {
                self.counts.changes += u64::from(family.take(looked));
            }
        }
    }

    /// What is known now, with what is written down.
    #[must_use]
    pub fn found(&self) -> Found {
        let mut all = Found::configured(&self.relay).0;
        all.extend(self.families.iter().flat_map(|family| &family.found));
        all.sort_by_key(|mapping| mapping.external.private.is_none());
        Found(all)
    }

    /// How often it was looked for.
    #[must_use]
    pub const fn counts(&self) -> LookCounts {
        self.counts
    }

    fn pause(&self) -> Duration {
        let wanted = self.families.iter().filter(|family| !family.locals.is_empty());
        let is_certain = |family: &Family| {
            !family.found.is_empty() && family.found.iter().all(|mapping| mapping.is_confirmed)
        };
        let refresh = self.relay.external_refresh;
        if wanted.into_iter().all(is_certain) { refresh } else { refresh.min(AGAIN_MAX) }
    }

    /// Looks for both families at once.
    async fn look(&mut self, time_max: Duration) -> [Looked; 2] {
        let until = Instant::now() + time_max;
        let (relay, families) = (&self.relay, &self.families);
        let looks = families.iter().filter(|family| !family.locals.is_empty()).map(|family| async move {
            let Family { is_ipv4, locals, found, .. } = family;
            let search = Search { relay, locals, before: found, is_ipv4: *is_ipv4, until };
            let looked = search.look().await;
            looked.map(|found| (*is_ipv4, found)).map_err(|why| (*is_ipv4, why))
        });
        let mut both = [None, None];
        for looked in gather(looks, |_| false).await.into_iter().flatten() {
            let (is_ipv4, looked) = match looked {
                Ok((is_ipv4, found)) => (is_ipv4, Ok(found)),
                Err((is_ipv4, why)) => (is_ipv4, Err(why)),
            };
            let count = if looked.is_ok() { &mut self.counts.found } else { &mut self.counts.failed };
            *count += 1;
            both[usize::from(!is_ipv4)] = Some(looked);
        }
        both
    }
}

impl Family {
    /// Addresses that are written down are not looked for.
    fn new(relay: &Relay, locals: &[IpAddr], is_ipv4: bool) -> Self {
        let mut locals = candidates(locals, is_ipv4);
        for external in relay.configured().filter(|external| external.public.is_ipv4() == is_ipv4) {
            locals.retain(|local| external.private.is_some_and(|private| private != *local));
        }
        Self { is_ipv4, locals, found: Vec::new(), is_missed: false }
    }

    /// Whether something else is found than before.
    fn differs(&self, looked: &Looked) -> bool {
        let Some(Ok(found)) = looked else { return false };
        !self.found.is_empty() && addresses(&self.merged(found)) != addresses(&self.found)
    }

    /// What is found, with the last known addresses of those that another server, or none this time, speaks of.
    fn merged(&self, found: &[Mapping]) -> Vec<Mapping> {
        let mut merged = found.to_vec();
        if found.iter().any(|mapping| mapping.from == AddressOrigin::Stun) {
            for last in self.found.iter().filter(|last| last.from == AddressOrigin::Stun) {
                let is_new = |new: &Mapping| {
                    new.external.public == last.external.public
                        || new.external.private == last.external.private
                };
                if !found.iter().any(is_new) {
                    merged.push(Mapping { is_confirmed: false, ..*last });
                }
            }
        }
        merged
    }

    /// Takes over what a look says, and tells what is new. Whether clients are told something else.
    fn take(&mut self, looked: Looked) -> bool {
        let family = family(self.is_ipv4);
        let found = match looked {
            Some(Ok(found)) => self.merged(&found),
            Some(Err(why)) => {
                self.miss(&why);
                return false;
            }
            None => {
                self.miss("no answer");
                return false;
            }
        };
        let (before, now) = (addresses(&self.found), addresses(&found));
        self.found = found;
        if before != now {
            self.is_missed = false;
            let (before, now) = (shown(&before), shown(&now));
            tracing::info!(
                family,
                before,
                now,
                "Clients are told another public address from now on; what is up keeps the one it has."
            );
            return true;
        }
        if std::mem::take(&mut self.is_missed) {
            tracing::info!(family, address = shown(&now), "The public address is found again.");
        }
        false
    }

    /// Nothing is found: what is known is kept, and that is said once.
    fn miss(&mut self, why: &str) {
        for mapping in &mut self.found {
            mapping.is_confirmed = false;
        }
        if self.locals.is_empty() || std::mem::replace(&mut self.is_missed, true) {
            return;
        }
        let family = family(self.is_ipv4);
        let kept = if self.found.is_empty() {
            let locals: Vec<String> = self.locals.iter().map(IpAddr::to_string).collect();
            format!("clients are told {}", locals.join(", "))
        } else {
            format!("the last known one is kept, {}", shown(&addresses(&self.found)))
        };
        tracing::warn!(family, "No public address is found, {kept} (relay.external): {why}; {MEND}.");
    }
}

/// What two looks in a row say alike.
fn agreed(one: [Looked; 2], other: [Looked; 2]) -> [Looked; 2] {
    let [one_v4, one_v6] = one;
    let [other_v4, other_v6] = other;
    [both(one_v4, other_v4), both(one_v6, other_v6)]
}

fn both(one: Looked, other: Looked) -> Looked {
    match (one, other) {
        (Some(Ok(one)), Some(Ok(other))) if addresses(&one) != addresses(&other) => {
            let (one, other) = (shown(&addresses(&one)), shown(&addresses(&other)));
            Some(Err(format!("it is {one} and at once {other}")))
        }
        (Some(Ok(_)), other) => other,
        (failed, _) => failed,
    }
}

/// Public and local addresses, in an order of their own.
fn addresses(mappings: &[Mapping]) -> Vec<(IpAddr, Option<IpAddr>)> {
    let pair = |mapping: &Mapping| (mapping.external.public, mapping.external.private);
    let mut pairs: Vec<_> = mappings.iter().map(pair).collect();
    pairs.sort_unstable();
    pairs
}

fn shown(addresses: &[(IpAddr, Option<IpAddr>)]) -> String {
    let words: Vec<String> = addresses
        .iter()
        .map(|(public, private)| match private {
            Some(private) if private != public => format!("{public} for {private}"),
            Some(_) | None => public.to_string(),
        })
        .collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{External, PublicSource, StunServer};

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn mapping(public: &str, private: Option<&str>, from: AddressOrigin) -> Mapping {
        let external = External { public: ip(public), private: private.map(ip) };
        Mapping { external, from, is_confirmed: true }
    }

    fn seen(list: &[(&str, &str)]) -> Looked {
        let pair = |(public, private): &(&str, &str)| mapping(public, Some(private), AddressOrigin::Stun);
        Some(Ok(list.iter().map(pair).collect()))
    }

    fn relay(external: &[PublicSource]) -> Relay {
        Relay { external: external.to_vec(), ..Relay::default() }
    }

    fn stun() -> PublicSource {
        PublicSource::Stun(StunServer { host: "192.0.2.1".to_owned(), port: 3478 })
    }

    fn written(public: &str, private: Option<&str>) -> PublicSource {
        PublicSource::Configured(External { public: ip(public), private: private.map(ip) })
    }

    fn state(family: &Family) -> Vec<String> {
        let one = |mapping: &Mapping| {
            let External { public, private } = mapping.external;
            format!(
                "{public} {} {}",
                private.map_or_else(String::new, |it| it.to_string()),
                mapping.is_confirmed
            )
        };
        family.found.iter().map(one).collect()
    }

    #[test]
    fn only_what_is_not_written_down_is_looked_for() {
        let listening = ["127.0.0.1", "10.0.0.5", "10.0.0.6", "::1", "fe80::1", "fd00::5"].map(ip);
        let locals = |external: &[PublicSource]| {
            let finder = Finder::new(&relay(external), &listening)?;
            Some(finder.families.map(|family| family.locals))
        };
        assert_eq!(locals(&[]), None);
        assert_eq!(locals(&[written("203.0.113.5", None)]), None);
        let all = [vec![ip("10.0.0.5"), ip("10.0.0.6")], vec![ip("fd00::5")]];
        assert_eq!(locals(&[stun()]), Some(all));
        let one = [vec![], vec![ip("fd00::5")]];
        assert_eq!(locals(&[stun(), written("203.0.113.5", None)]), Some(one));
        let other = [vec![ip("10.0.0.6")], vec![ip("fd00::5")]];
        assert_eq!(locals(&[written("203.0.113.5", Some("10.0.0.5")), stun()]), Some(other));
        assert_eq!(locals(&[stun(), written("203.0.113.5", None), written("2001:db8::5", None)]), None);
        let loopback = Finder::new(&relay(&[stun()]), &[ip("127.0.0.1")]).unwrap();
        assert_eq!(loopback.families.map(|family| family.locals), [vec![ip("127.0.0.1")], vec![]]);
    }

    #[test]
    fn what_fails_keeps_the_last_known_address_until_another_is_found() {
        let mut family = Family::new(&relay(&[stun()]), &[ip("10.0.0.5"), ip("10.0.0.6")], true);
        assert!(family.take(seen(&[("203.0.113.5", "10.0.0.5"), ("203.0.113.6", "10.0.0.6")])));
        assert!(!family.take(Some(Err("silent".to_owned()))));
        assert_eq!(state(&family), ["203.0.113.5 10.0.0.5 false", "203.0.113.6 10.0.0.6 false"]);
        assert!(!family.take(seen(&[("203.0.113.6", "10.0.0.6")])), "one of two is silent");
        assert_eq!(state(&family), ["203.0.113.6 10.0.0.6 true", "203.0.113.5 10.0.0.5 false"]);
        assert!(family.take(seen(&[("203.0.113.5", "10.0.0.6")])), "the other has its address now");
        assert_eq!(state(&family), ["203.0.113.5 10.0.0.6 true"]);
        let named = mapping("203.0.113.9", None, AddressOrigin::Name);
        assert!(family.take(Some(Ok(vec![named]))), "another place knows it now");
        assert_eq!(state(&family), ["203.0.113.9  true"]);
    }

    #[test]
    fn an_address_that_differs_counts_when_it_is_found_twice_in_a_row() {
        let [first, second] = [seen(&[("203.0.113.5", "10.0.0.5")]), seen(&[("203.0.113.6", "10.0.0.5")])];
        let mut family = Family::new(&relay(&[stun()]), &[ip("10.0.0.5")], true);
        assert!(!family.differs(&first), "there is none before");
        family.take(first.clone());
        assert!(!family.differs(&first) && family.differs(&second));
        assert!(!family.differs(&None) && !family.differs(&Some(Err(String::new()))));

        assert_eq!(both(second.clone(), second.clone()), second);
        assert!(
            matches!(both(second.clone(), first.clone()), Some(Err(why)) if why.contains("203.0.113.6 for"))
        );
        assert_eq!(both(second.clone(), None), None);
        let silent = Some(Err("silent".to_owned()));
        assert_eq!(both(silent.clone(), first), silent);
    }

    #[tokio::test]
    async fn a_relay_with_a_public_address_of_its_own_goes_without_what_is_not_found() {
        let external = [PublicSource::Interface("no-such-one".to_owned())];
        let mut finder = Finder::new(&relay(&external), &[ip("10.0.0.5"), ip("2001:db8:1::5")]).unwrap();
        let soon = Duration::from_millis(50);
        assert_eq!(finder.first_within(soon).await, Ok(()));
        assert_eq!((finder.found(), finder.counts().failed), (Found::default(), 2));

        let mut private = Finder::new(&relay(&external), &[ip("10.0.0.5")]).unwrap();
        let NotFound { locals, why } = private.first_within(soon).await.unwrap_err();
        assert_eq!((&*locals, &*why), ("10.0.0.5", "interface:no-such-one has no IPv4 address"));
    }
}
