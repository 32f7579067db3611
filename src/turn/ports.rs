//! Which relay ports are taken.

use std::{
    fmt,
    net::IpAddr,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use super::Random;

/// Ports in one word of the map.
const WORD_PORTS: usize = 64;
const WORDS: usize = 65_536 / WORD_PORTS;
/// The even ports of a word: every word starts at one.
const EVEN: u64 = 0x5555_5555_5555_5555;
/// Addresses that may come later: interfaces get new ones.
const SPARE: usize = 32;
/// Random ports tried before the map is searched: with half of the range taken, one in 256 takes gets that far.
const GUESSES: usize = 8;

/// Which port an allocation asked for (RFC 8656 §18.6 EVEN-PORT).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parity {
    /// No preference.
    Any,
    /// An even port.
    Even,
}

/// The relay ports of every relay address of the process: which are taken.
///
/// Shared by all shards and free of locks: a port is one bit, taken and released by one atomic operation. A port is
/// in the map from the moment a bind is asked for, and as long as it is reserved for a RESERVATION-TOKEN.
pub struct Ports {
    /// In the order in which they came; the rest is empty.
    addresses: Box<[OnceLock<(IpAddr, Map)>]>,
    min: u16,
    max: u16,
}

type Map = Box<[AtomicU64]>;

impl Ports {
    /// All ports from `min` to `max` (both included; port 0 never is) of each of `addresses`, none taken.
    /// 8 KiB per address. An empty range is legal and has no port to give.
    #[must_use]
    pub fn new(addresses: &[IpAddr], min: u16, max: u16) -> Self {
        let places = std::iter::repeat_with(OnceLock::new).take(addresses.len() + SPARE);
        let ports = Self { addresses: places.collect(), min: min.max(1), max };
        for &ip in addresses {
            ports.add(ip);
        }
        ports
    }

    /// One more relay address, with all of its ports free; one that is known stays as it is. `false` if there have been
    /// too many.
    pub fn add(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|place| {
            let empty = || (ip, std::iter::repeat_with(AtomicU64::default).take(WORDS).collect());
            place.get_or_init(empty).0 == ip
        })
    }

    /// Takes a random free port of `ip`; with `pair`, an even one and the next above it (the even one is returned,
    /// each is released on its own).
    ///
    /// `None` if there is none left (508), or if `ip` is not a relay address.
    pub fn take(&self, ip: IpAddr, parity: Parity, pair: bool, random: &mut dyn Random) -> Option<u16> {
        let map = self.map(ip)?;
        let range = usize::from(self.max.checked_sub(self.min)?) + 1;
        let wanted = Wanted { even: pair || parity == Parity::Even, pair };
        let mut bytes = [0; 4 * GUESSES];
        random.fill(&mut bytes);
        let mut start = usize::from(self.min);
        for chunk in bytes.as_chunks::<4>().0 {
            start = usize::from(self.min) + u32::from_le_bytes(*chunk) as usize % range;
            if let Some(port) = self.take_in_word(map, start / WORD_PORTS, wanted, 1 << (start % WORD_PORTS))
            {
                return Some(port);
            }
        }
        self.search(map, start, wanted)
    }

    /// Gives a port back. Releasing a free port, or one that is not ours, does nothing; debug builds panic.
    pub fn release(&self, ip: IpAddr, port: u16) {
        let bit = 1 << (usize::from(port) % WORD_PORTS);
        let word = self.map(ip).and_then(|map| map.get(usize::from(port) / WORD_PORTS));
        let before = word.map_or(0, |word| word.fetch_and(!bit, Ordering::AcqRel));
        debug_assert!(before & bit != 0, "port {port} of {ip} is released, but was not taken");
    }

    /// Whether this is the port of a relay socket, one being bound, or one reserved. A single read of memory.
    #[must_use]
    pub fn is_relay(&self, ip: IpAddr, port: u16) -> bool {
        let bit = 1 << (usize::from(port) % WORD_PORTS);
        let word = self.map(ip).and_then(|map| map.get(usize::from(port) / WORD_PORTS));
        word.is_some_and(|word| word.load(Ordering::Relaxed) & bit != 0)
    }

    /// How many ports of `ip` are taken. Counts bits: for metrics, not for packets.
    #[must_use]
    pub fn in_use(&self, ip: IpAddr) -> usize {
        let ones = |word: &AtomicU64| word.load(Ordering::Relaxed).count_ones() as usize;
        self.map(ip).map_or(0, |map| map.iter().map(ones).sum())
    }

    /// How many ports of `ip` are free; zero if it is not a relay address.
    #[must_use]
    pub fn free(&self, ip: IpAddr) -> usize {
        if self.map(ip).is_none() || self.min > self.max {
            return 0;
        }
        (usize::from(self.max - self.min) + 1).saturating_sub(self.in_use(ip))
    }

    /// The relay addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.known().map(|(ip, _)| *ip)
    }

    fn map(&self, ip: IpAddr) -> Option<&[AtomicU64]> {
        self.known().find(|(known, _)| *known == ip).map(|(_, map)| &**map)
    }

    fn known(&self) -> impl Iterator<Item = &(IpAddr, Map)> {
        self.addresses.iter().map_while(OnceLock::get)
    }

    /// Goes once round the range from `start`: finds a port whenever one is free all the while.
    fn search(&self, map: &[AtomicU64], start: usize, wanted: Wanted) -> Option<u16> {
        let (first, last) = (usize::from(self.min) / WORD_PORTS, usize::from(self.max) / WORD_PORTS);
        let middle = start / WORD_PORTS;
        let from_start = u64::MAX << (start % WORD_PORTS);
        self.take_in_word(map, middle, wanted, from_start)
            .or_else(|| (middle + 1..=last).find_map(|word| self.take_in_word(map, word, wanted, u64::MAX)))
            .or_else(|| (first..=middle).find_map(|word| self.take_in_word(map, word, wanted, u64::MAX)))
    }

    /// Takes the lowest suitable port of a word that is in `mask` and in the range.
    fn take_in_word(&self, map: &[AtomicU64], index: usize, wanted: Wanted, mask: u64) -> Option<u16> {
        let word = map.get(index)?;
        let in_range = self.range_mask(index);
        let mut taken = word.load(Ordering::Relaxed);
        // Each turn but the last means that another shard took or released a port of this very word in between.
        loop {
            let bits = wanted.lowest(!taken & in_range, mask)?;
            match word.compare_exchange_weak(taken, taken | bits, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return u16::try_from(index * WORD_PORTS + bits.trailing_zeros() as usize).ok(),
                Err(now) => taken = now,
            }
        }
    }

    /// The bits of a word that lie in the range.
    fn range_mask(&self, index: usize) -> u64 {
        let base = index * WORD_PORTS;
        let below = usize::from(self.min).saturating_sub(base).min(WORD_PORTS);
        let upto = (usize::from(self.max) + 1).saturating_sub(base).min(WORD_PORTS);
        low_bits(upto) & !low_bits(below)
    }
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used: Vec<_> = self.addresses().map(|ip| (ip, self.in_use(ip))).collect();
        f.debug_struct("Ports")
            .field("min", &self.min)
            .field("max", &self.max)
            .field("in_use", &used)
            .finish()
    }
}

#[derive(Clone, Copy)]
struct Wanted {
    even: bool,
    pair: bool,
}

impl Wanted {
    /// The bits to set for the lowest suitable port in `mask` among the `free` ones.
    const fn lowest(self, free: u64, mask: u64) -> Option<u64> {
        let mut suitable = free & mask;
        if self.even {
            suitable &= EVEN;
        }
        if self.pair {
            // A pair never crosses into the next word: its even port is at most the 62nd.
            suitable &= free >> 1;
        }
        if suitable == 0 {
            return None;
        }
        let lowest = suitable & suitable.wrapping_neg();
        Some(if self.pair { lowest | lowest << 1 } else { lowest })
    }
}

const fn low_bits(count: usize) -> u64 {
    if count >= WORD_PORTS { u64::MAX } else { (1 << count) - 1 }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, net::Ipv4Addr, sync::Arc};

    use proptest::prelude::*;

    use super::*;

    const IP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

    /// Xorshift: plenty for a test.
    struct Chance(u64);

    impl Random for Chance {
        fn fill(&mut self, bytes: &mut [u8]) {
            for byte in bytes {
                self.0 ^= self.0 << 13;
                self.0 ^= self.0 >> 7;
                self.0 ^= self.0 << 17;
                *byte = self.0.to_le_bytes()[4];
            }
        }
    }

    fn take_any(ports: &Ports, chance: &mut Chance) -> Option<u16> {
        ports.take(IP, Parity::Any, false, chance)
    }

    #[test]
    fn every_port_of_the_range_is_given_once_and_then_none() {
        for (min, max) in [(49_152, 49_152), (100, 163), (63, 64), (1, 65_535), (65_472, 65_535), (64, 127)] {
            let ports = Ports::new(&[IP], min, max);
            let chance = &mut Chance(42);
            let taken: HashSet<u16> = std::iter::from_fn(|| take_any(&ports, chance)).collect();
            assert_eq!(taken.len(), usize::from(max - min) + 1);
            assert!(taken.iter().all(|port| (min..=max).contains(port)));
            assert_eq!((ports.free(IP), ports.in_use(IP)), (0, taken.len()));
            assert_eq!(take_any(&ports, chance), None);
        }
    }

    #[test]
    fn the_last_free_port_is_found_wherever_it_is() {
        let ports = Ports::new(&[IP], 10_000, 10_999);
        let chance = &mut Chance(7);
        while take_any(&ports, chance).is_some() {}

        for port in 10_000..=10_999 {
            ports.release(IP, port);
            assert_eq!(take_any(&ports, chance), Some(port));
        }
    }

    #[test]
    fn even_ports_are_even_and_run_out_before_odd_ones() {
        let ports = Ports::new(&[IP], 1001, 1100);
        let chance = &mut Chance(3);
        let taken: Vec<u16> = std::iter::from_fn(|| ports.take(IP, Parity::Even, false, chance)).collect();

        assert_eq!(taken.len(), 50);
        assert!(taken.iter().all(|port| port % 2 == 0));
        assert_eq!(ports.free(IP), 50);
        assert_eq!(take_any(&ports, chance).map(|port| port % 2), Some(1));
    }

    #[test]
    fn pairs_are_an_even_port_and_the_next() {
        // 1001 and 1100 have no partner in the range.
        let ports = Ports::new(&[IP], 1001, 1100);
        let chance = &mut Chance(3);
        let pairs: Vec<u16> = std::iter::from_fn(|| ports.take(IP, Parity::Even, true, chance)).collect();

        assert_eq!(pairs.len(), 49);
        for &even in &pairs {
            assert_eq!(even % 2, 0);
            assert!(ports.is_relay(IP, even) && ports.is_relay(IP, even + 1));
        }
        assert_eq!(ports.free(IP), 2);
        ports.release(IP, pairs[0] + 1);
        assert_eq!(ports.take(IP, Parity::Any, true, chance), None);
        ports.release(IP, pairs[0]);
        assert_eq!(ports.take(IP, Parity::Any, true, chance), Some(pairs[0]));
    }

    #[test]
    fn addresses_have_ports_of_their_own() {
        let ports = Ports::new(&[IP, OTHER, IP], 5000, 5000);
        let chance = &mut Chance(1);

        assert_eq!(take_any(&ports, chance), Some(5000));
        assert!(ports.is_relay(IP, 5000) && !ports.is_relay(OTHER, 5000));
        assert_eq!(ports.take(OTHER, Parity::Any, false, chance), Some(5000));
        assert_eq!(ports.take("203.0.113.9".parse().unwrap(), Parity::Any, false, chance), None);
        assert_eq!(ports.addresses().collect::<Vec<_>>(), [IP, OTHER]);
    }

    #[test]
    fn addresses_that_come_later_have_ports_too_as_long_as_there_is_room() {
        let ports = Ports::new(&[IP], 5000, 5000);
        let chance = &mut Chance(1);
        assert!(take_any(&ports, chance).is_some());

        assert!(ports.add(OTHER) && ports.add(IP) && ports.add(OTHER));
        assert_eq!(ports.addresses().collect::<Vec<_>>(), [IP, OTHER]);
        assert_eq!(take_any(&ports, chance), None, "what was taken stays taken");
        assert_eq!(ports.take(OTHER, Parity::Any, false, chance), Some(5000));
        let more = (0..=u8::MAX).filter(|last| ports.add([198, 51, 100, *last].into())).count();
        assert_eq!(more, SPARE - 1);
    }

    #[test]
    fn an_empty_range_has_nothing_to_give() {
        let chance = &mut Chance(1);
        assert_eq!(take_any(&Ports::new(&[IP], 2, 1), chance), None);
        assert_eq!(Ports::new(&[IP], 2, 1).free(IP), 0);
        assert_eq!(take_any(&Ports::new(&[IP], 0, 0), chance), None);
    }

    #[test]
    fn ports_come_in_no_order_a_stranger_can_guess() {
        let ports = Ports::new(&[IP], 49_152, 65_535);
        let chance = &mut Chance(99);
        let taken: Vec<u16> = (0..64).filter_map(|_| take_any(&ports, chance)).collect();

        let neighbours = taken.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < 16).count();
        assert!(neighbours < 4, "{taken:?}");
    }

    #[test]
    #[should_panic(expected = "was not taken")]
    #[cfg(debug_assertions)]
    fn releasing_a_free_port_is_caught_in_debug_builds() {
        Ports::new(&[IP], 1, 9).release(IP, 5);
    }

    #[test]
    fn threads_never_get_the_same_port() {
        let ports = Arc::new(Ports::new(&[IP], 20_000, 20_499));
        let owners: Arc<Vec<AtomicU64>> = Arc::new((0..65_536).map(|_| AtomicU64::new(0)).collect());
        std::thread::scope(|scope| {
            for thread in 1..=4 {
                let (ports, owners) = (ports.clone(), owners.clone());
                scope.spawn(move || take_and_release(&ports, &owners, thread));
            }
        });
        assert_eq!(ports.in_use(IP), 0);
    }

    fn take_and_release(ports: &Ports, owners: &[AtomicU64], thread: u64) {
        let chance = &mut Chance(thread);
        let mut mine: Vec<u16> = Vec::new();
        for round in 0..4_000_usize {
            let pair = round % 3 == 0;
            if let Some(port) = ports.take(IP, Parity::Any, pair, chance) {
                for port in port..=port + u16::from(pair) {
                    assert_eq!(owners[usize::from(port)].swap(thread, Ordering::SeqCst), 0);
                    mine.push(port);
                }
            }
            if mine.len() > 150 || round % 2 == 0 && !mine.is_empty() {
                let port = mine.swap_remove(round % mine.len());
                assert_eq!(owners[usize::from(port)].swap(0, Ordering::SeqCst), thread);
                ports.release(IP, port);
            }
        }
        for port in mine {
            owners[usize::from(port)].store(0, Ordering::SeqCst);
            ports.release(IP, port);
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_is_counted_and_comes_back(
            min in 1_u16..=300,
            length in 0_u16..=200,
            steps in prop::collection::vec((any::<bool>(), any::<bool>()), 0..300),
            seed in 1_u64..,
        ) {
            let max = min + length;
            let ports = Ports::new(&[IP], min, max);
            let chance = &mut Chance(seed);
            let mut model = HashSet::new();
            for (even, pair) in steps {
                let parity = if even { Parity::Even } else { Parity::Any };
                let fits = |p: u16| !model.contains(&p) && p <= max;
                let suits = |p: u16| fits(p) && (!(even || pair) || p.is_multiple_of(2)) && (!pair || fits(p + 1));
                let is_possible = (min..=max).any(suits);
                let got = ports.take(IP, parity, pair, chance);
                prop_assert_eq!(got.is_some(), is_possible);
                if let Some(port) = got {
                    prop_assert!(suits(port) && port >= min);
                    model.insert(port);
                    model.extend(pair.then_some(port + 1));
                }
                prop_assert_eq!(ports.in_use(IP), model.len());
            }
            for port in model {
                ports.release(IP, port);
            }
            prop_assert_eq!(ports.in_use(IP), 0);
        }
    }
}
