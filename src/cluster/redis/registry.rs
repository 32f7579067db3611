//! Who else is there: each node's last heartbeat, and which of its frames were seen.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;

use super::{
    frame::{AGE_MAX_MILLIS, Header, Window, purpose},
    keys::NODE_LEASE,
    seal::{Keys, Sealer},
};
use crate::cluster::{NodeId, NodeInfo, Nodes};

/// More nodes than any cluster has; further ones are not taken in.
const NODES_MAX: usize = 1024;
/// What two clocks may differ by when a frame is judged against the start of this node.
const SKEW_MILLIS: u64 = 5000;
/// A run that was silent for so long may be followed by one with a lower number: more than two of its heartbeats.
const SILENT: Duration = Duration::from_secs(5);
/// How often a node is asked for a proof that its run goes on now.
const PROOF_EVERY: Duration = Duration::from_secs(1);

/// Why a frame is refused although it opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It was seen, or it is of a run of the node that is over.
    Replayed,
    /// It is too old, or from the future.
    Clock,
    /// Its run has a lower number than one before: it was played again, or the clock of its node went back between two
    /// starts. What it answers to a question of now tells which.
    Unproved,
    /// There are too many nodes.
    TooMany,
}

/// What a frame that is taken says beside its message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Admitted {
    /// This run of the node was not known.
    pub(super) is_new: bool,
    /// Frames to all nodes went missing before it.
    pub(super) has_gap: bool,
}

pub(super) struct Registry {
    known: Mutex<HashMap<NodeId, Known>>,
    nodes: ArcSwap<Nodes>,
    own: Mutex<NodeInfo>,
    /// When this process began, by a clock that does not jump.
    began: Instant,
}

struct Known {
    incarnation: u64,
    /// The highest number of a run: one above it is new, others have to prove that they are not over.
    top: u64,
    /// The run that was asked for a proof last, by which question and when.
    asked: Option<(u64, u64, Instant)>,
    /// `None` until it says how it does, and after its lease.
    info: Option<NodeInfo>,
    sealer: Arc<Sealer>,
    window: Window,
    /// What opens the frames of its signaling relay, once there was one, and which of those were seen.
    signal_sealer: Option<Arc<Sealer>>,
    signal_window: Window,
    broadcast: u64,
    heard: Instant,
}

impl Registry {
    pub(super) fn new(own: NodeInfo, began: Instant) -> Self {
        let nodes = ArcSwap::from_pointee(Nodes { list: vec![own.clone()] });
        Self { known: Mutex::default(), nodes, own: Mutex::new(own), began }
    }

    pub(super) fn nodes(&self) -> Arc<Nodes> {
        self.nodes.load_full()
    }

    /// The other nodes with their runs.
    pub(super) fn others(&self) -> Vec<(NodeId, u64)> {
        let nodes = self.nodes.load();
        nodes.list.iter().skip(1).map(|node| (node.id.clone(), node.incarnation)).collect()
    }

    /// The run of another node.
    pub(super) fn incarnation(&self, node: &str) -> Option<u64> {
        let nodes = self.nodes.load();
        nodes.list.iter().skip(1).find(|known| known.id == node).map(|known| known.incarnation)
    }

    /// The version of another node.
    pub(super) fn version(&self, node: &str) -> Option<String> {
        let nodes = self.nodes.load();
        nodes.list.iter().skip(1).find(|known| known.id == node).map(|known| known.version.clone())
    }

    /// Says how this node does.
    pub(super) fn set_own(&self, own: NodeInfo) {
        *self.own.lock().unwrap_or_else(PoisonError::into_inner) = own;
        self.rebuild(&self.lock());
    }

    /// What opens the frames of a run of a node.
    pub(super) fn sealer(&self, keys: &Keys, source: &str, incarnation: u64) -> Arc<Sealer> {
        let known = self
            .lock()
            .get(source)
            .filter(|known| known.incarnation == incarnation)
            .map(|known| Arc::clone(&known.sealer));
        known.unwrap_or_else(|| Arc::new(keys.sealer(&purpose(source, incarnation))))
    }

    /// What opens the frames of the signaling relay of a run of a node; `None` if that is not there.
    pub(super) fn signal_sealer(&self, keys: &Keys, source: &str, incarnation: u64) -> Option<Arc<Sealer>> {
        let mut known = self.lock();
        let node = known.get_mut(source).filter(|node| node.incarnation == incarnation)?;
        let new = || Arc::new(keys.sealer(&super::signals::purpose(source, incarnation)));
        Some(Arc::clone(node.signal_sealer.get_or_insert_with(new)))
    }

    /// Judges a frame of a signaling relay that has been opened.
    pub(super) fn admit_signal(&self, header: &Header, now: u64) -> Result<(), Refused> {
        if self.is_of_another_time(header, now) {
            return Err(Refused::Clock);
        }
        let mut known = self.lock();
        let node = known.get_mut(&header.source).filter(|node| node.incarnation == header.incarnation);
        match node {
            Some(node) => node.signal_window.take(header.sequence).then_some(()).ok_or(Refused::Replayed),
            None => Err(Refused::Replayed),
        }
    }

    /// Whether it is too old, from the future, or from before this process: by the clock as it is now, which may have
    /// been another one when this process began.
    fn is_of_another_time(&self, header: &Header, now: u64) -> bool {
        let age = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        header.sent.abs_diff(now) > AGE_MAX_MILLIS
            || header.sent.saturating_add(SKEW_MILLIS) < now.saturating_sub(age)
    }

    /// Judges a frame that has been opened: only the nodes themselves can get here.
    pub(super) fn admit(&self, header: &Header, sealer: &Arc<Sealer>, now: u64) -> Result<Admitted, Refused> {
        if self.is_of_another_time(header, now) {
            return Err(Refused::Clock);
        }
        let mut known = self.lock();
        let mut admitted = Admitted::default();
        let count = known.len();
        let node = match known.get_mut(&header.source) {
            Some(node) if node.must_prove(header.incarnation) => return Err(Refused::Unproved),
            Some(node) => {
                if header.incarnation != node.incarnation {
                    *node = Known::new(header.incarnation, sealer);
                    admitted.is_new = true;
                }
                node
            }
            None if count >= NODES_MAX => return Err(Refused::TooMany),
            None => {
                admitted.is_new = true;
                known.entry(header.source.clone()).or_insert_with(|| Known::new(header.incarnation, sealer))
            }
        };
        if !node.window.take(header.sequence) {
            return Err(Refused::Replayed);
        }
        if header.broadcast != 0 {
            admitted.has_gap = !admitted.is_new && header.broadcast > node.broadcast + 1;
            node.broadcast = node.broadcast.max(header.broadcast);
        }
        Ok(admitted)
    }

    /// Whether the run of a frame that was refused as [`Refused::Unproved`] is to be asked for a proof now: `question` is
    /// what to ask.
    pub(super) fn doubt(&self, header: &Header, question: u64) -> bool {
        let mut known = self.lock();
        let Some(node) = known.get_mut(&header.source) else { return false };
        if !node.is_silent() || node.asked.is_some_and(|(_, _, at)| at.elapsed() < PROOF_EVERY) {
            return false;
        }
        node.asked = Some((header.incarnation, question, Instant::now()));
        true
    }

    /// Takes an answer of such a run, which only it could seal, and only after it was asked: it is the one that goes on,
    /// if the one before is silent. Its frames are taken from now on. Answers the run before.
    pub(super) fn prove(&self, header: &Header, question: u64, sealer: &Arc<Sealer>) -> Option<u64> {
        let mut known = self.lock();
        let node = known.get_mut(&header.source)?;
        let is_asked =
            node.asked.is_some_and(|(run, asked, _)| (run, asked) == (header.incarnation, question));
        if !is_asked || !node.is_silent() {
            return None;
        }
        let (top, before) = (node.top, node.incarnation);
        *node = Known { top, ..Known::new(header.incarnation, sealer) };
        Some(before)
    }

    /// Takes over how a node does. Answers whether it comes back after its lease, or for the first time.
    ///
    /// How fresh that is counts from `now`, when it is heard: clocks that differ by seconds must not make a node silent.
    pub(super) fn heard(&self, info: NodeInfo, now: u64) -> bool {
        let mut known = self.lock();
        let Some(node) = known.get_mut(&info.id).filter(|node| node.incarnation == info.incarnation) else {
            return false;
        };
        let is_back = node.info.is_none();
        node.heard = Instant::now();
        node.info = Some(NodeInfo { told: now, ..info });
        self.rebuild(&known);
        is_back
    }

    /// Takes over an entry of the registry, of a node that was not heard yet. Answers whether it is news.
    pub(super) fn read(&self, keys: &Keys, info: NodeInfo, now: u64) -> bool {
        let mut known = self.lock();
        let is_recent = info.told.abs_diff(now) <= AGE_MAX_MILLIS;
        let is_known = known.get(&info.id).is_some_and(|node| node.top >= info.incarnation);
        if !is_recent || is_known || known.len() >= NODES_MAX {
            return false;
        }
        let sealer = Arc::new(keys.sealer(&purpose(&info.id, info.incarnation)));
        let mut node = Known::new(info.incarnation, &sealer);
        let id = info.id.clone();
        node.info = Some(info);
        known.insert(id, node);
        self.rebuild(&known);
        true
    }

    /// Ends the lease of a node at once. Answers whether it had one.
    pub(super) fn leave(&self, node: &str) -> bool {
        let mut known = self.lock();
        let had_one = known.get_mut(node).is_some_and(|node| node.info.take().is_some());
        self.rebuild(&known);
        had_one
    }

    /// Ends the leases that are over, and answers whose.
    pub(super) fn prune(&self) -> Vec<NodeId> {
        let mut known = self.lock();
        let mut ended = Vec::new();
        for (id, node) in known.iter_mut() {
            if node.heard.elapsed() > NODE_LEASE && node.info.take().is_some() {
                ended.push(id.clone());
            }
        }
        // Its numbers are kept for as long as its frames could be played again.
        let kept = NODE_LEASE + Duration::from_millis(2 * AGE_MAX_MILLIS);
        known.retain(|_, node| node.heard.elapsed() < kept);
        if !ended.is_empty() {
            self.rebuild(&known);
        }
        ended
    }

    fn rebuild(&self, known: &HashMap<NodeId, Known>) {
        let mut list: Vec<NodeInfo> = known.values().filter_map(|node| node.info.clone()).collect();
        list.sort_by(|a, b| a.id.cmp(&b.id));
        list.insert(0, self.own.lock().unwrap_or_else(PoisonError::into_inner).clone());
        self.nodes.store(Arc::new(Nodes { list }));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn new(incarnation: u64, sealer: &Arc<Sealer>) -> Self {
        Self {
            incarnation,
            top: incarnation,
            asked: None,
            info: None,
            sealer: Arc::clone(sealer),
            window: Window::default(),
            signal_sealer: None,
            signal_window: Window::default(),
            broadcast: 0,
            heard: Instant::now(),
        }
    }

    /// Whether a run may be one that is over.
    const fn must_prove(&self, incarnation: u64) -> bool {
        incarnation != self.incarnation && incarnation <= self.top
    }

    /// Whether it has left, or seems to be gone.
    fn is_silent(&self) -> bool {
        self.info.is_none() || self.heard.elapsed() > SILENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SecretBytes;

    const NOW: u64 = 1_800_000_000_000;

    fn info(id: &str, incarnation: u64) -> NodeInfo {
        NodeInfo::new(id, incarnation, NOW)
    }

    fn registry() -> (Registry, Arc<Sealer>) {
        let keys = Keys::new(&[SecretBytes::new(&[7; 32])]);
        (Registry::new(info("me", 1), Instant::now()), Arc::new(keys.sealer("x")))
    }

    fn header(incarnation: u64, sequence: u64, broadcast: u64, sent: u64) -> Header {
        Header { source: "a".to_owned(), incarnation, sequence, broadcast, sent }
    }

    #[test]
    fn a_frame_is_taken_once() {
        let (registry, sealer) = registry();
        let first = registry.admit(&header(5, 1, 1, NOW), &sealer, NOW);
        assert_eq!(first, Ok(Admitted { is_new: true, has_gap: false }));
        assert_eq!(registry.admit(&header(5, 1, 1, NOW), &sealer, NOW), Err(Refused::Replayed));
        assert_eq!(registry.admit(&header(5, 2, 2, NOW), &sealer, NOW), Ok(Admitted::default()));
    }

    #[test]
    fn a_run_that_is_over_is_not_heard_again() {
        let (registry, sealer) = registry();
        registry.admit(&header(5, 7, 0, NOW), &sealer, NOW).unwrap();
        assert!(registry.admit(&header(6, 1, 0, NOW), &sealer, NOW).unwrap().is_new);
        assert_eq!(registry.admit(&header(5, 8, 0, NOW), &sealer, NOW), Err(Refused::Unproved));
    }

    #[test]
    fn a_lower_run_is_taken_once_it_answers_and_the_higher_one_is_over_then() {
        let (registry, sealer) = registry();
        registry.admit(&header(9, 7, 1, NOW), &sealer, NOW).unwrap();
        registry.heard(info("a", 9), NOW);
        let later = header(5, 1, 1, NOW);
        assert!(!registry.doubt(&later, 1), "the higher one was just heard");
        registry.leave("a");
        assert_eq!(registry.prove(&later, 1, &sealer), None, "nobody asked");
        assert!(registry.doubt(&later, 2));
        assert!(!registry.doubt(&later, 3), "not more often than once a second");
        assert_eq!(registry.prove(&later, 3, &sealer), None, "another question");
        assert_eq!(registry.prove(&header(4, 1, 0, NOW), 2, &sealer), None, "another run");
        assert_eq!(registry.admit(&later, &sealer, NOW), Err(Refused::Unproved));
        assert_eq!(registry.prove(&later, 2, &sealer), Some(9));
        assert_eq!(registry.prove(&later, 2, &sealer), None, "once");
        assert!(registry.admit(&later, &sealer, NOW).is_ok());
        for over in [9, 7, 4] {
            let replayed = registry.admit(&header(over, 8, 0, NOW), &sealer, NOW);
            assert_eq!(replayed, Err(Refused::Unproved), "{over}");
        }
        assert!(registry.admit(&header(10, 1, 0, NOW), &sealer, NOW).unwrap().is_new);
    }

    #[test]
    fn a_run_that_goes_on_is_not_replaced_by_a_lower_one_that_answers() {
        let (registry, sealer) = registry();
        registry.admit(&header(9, 7, 1, NOW), &sealer, NOW).unwrap();
        assert!(registry.doubt(&header(5, 1, 1, NOW), 1), "it has not said how it does");
        registry.heard(info("a", 9), NOW);
        assert_eq!(registry.prove(&header(5, 2, 0, NOW), 1, &sealer), None);
    }

    #[test]
    fn old_frames_and_those_from_before_the_start_are_refused() {
        let (registry, sealer) = registry();
        for sent in [NOW - AGE_MAX_MILLIS - 1, NOW + AGE_MAX_MILLIS + 1, NOW - 10_000] {
            assert_eq!(registry.admit(&header(5, 1, 0, sent), &sealer, NOW), Err(Refused::Clock));
        }
    }

    #[test]
    fn a_clock_that_was_ahead_when_this_process_began_does_no_harm_once_it_is_right() {
        let (registry, sealer) = registry();
        let day = 86_400_000;
        assert!(registry.admit(&header(5, 1, 0, NOW + day), &sealer, NOW + day).is_ok());
        assert!(registry.admit(&header(5, 2, 0, NOW), &sealer, NOW).is_ok());
        assert_eq!(registry.admit(&header(5, 3, 0, NOW + day), &sealer, NOW), Err(Refused::Clock));
    }

    #[test]
    fn missing_frames_to_all_are_noticed() {
        let (registry, sealer) = registry();
        registry.admit(&header(5, 1, 1, NOW), &sealer, NOW).unwrap();
        assert!(registry.admit(&header(5, 9, 3, NOW), &sealer, NOW).unwrap().has_gap);
    }

    #[test]
    fn a_node_is_listed_from_its_heartbeat_until_it_leaves() {
        let (registry, sealer) = registry();
        registry.admit(&header(5, 1, 1, NOW), &sealer, NOW).unwrap();
        assert_eq!(registry.nodes().list.len(), 1);
        assert!(registry.heard(info("a", 5), NOW));
        assert!(!registry.heard(info("a", 5), NOW + 7));
        assert!(!registry.heard(info("a", 4), NOW + 9));
        assert_eq!(registry.nodes().list[1].told, NOW + 7, "by the clock of who hears it");
        assert_eq!(registry.others(), [("a".to_owned(), 5)]);
        assert!(registry.leave("a"));
        assert_eq!(registry.nodes().list.len(), 1);
    }
}
