//! What signaling relays of different nodes tell one another: bytes that only they understand, sealed on the way like
//! everything else, and lost whenever they cannot be carried.

/// The signaling relay of this node, as the cluster sees it. Its methods are called often and must not wait.
pub trait SignalHandler: Send + Sync + 'static {
    /// Another node is there, or a new run of it.
    fn node_up(&self, node: &str, run: u64);

    /// The lease of another node is over, or it left.
    fn node_down(&self, node: &str);

    /// A run of another node sent this, in the order in which it was sent, but perhaps not all of it.
    fn received(&self, node: &str, run: u64, bytes: &[u8]);

    /// Other nodes can, or cannot, be reached at present.
    fn bus(&self, is_up: bool);
}
