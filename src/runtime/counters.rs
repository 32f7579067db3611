//! What the runtime counts beside the core: plain integers of one shard.

use super::stream::StreamCounters;

/// Counters of one shard's sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeCounters {
    /// Batches received from client sockets.
    pub client_batches: u64,
    /// Receives from relay sockets that brought something.
    pub relay_receives: u64,
    /// Sends that handed the kernel several datagrams at once (UDP_SEGMENT).
    pub segmented_sends: u64,
    /// Datagrams within those.
    pub segments_sent: u64,
    /// Sends the kernel refused to segment, which were then sent one by one.
    pub segmentation_refused: u64,
    /// Datagrams lost because a socket's send buffer was full.
    pub send_buffer_full: u64,
    /// Datagrams the system refused to send for another reason.
    pub send_refused: u64,
    /// Receives that failed for another reason than having nothing to receive.
    pub receive_failed: u64,
    /// ICMP errors read from relay sockets.
    pub icmp_errors: u64,
    /// Ended allocations that nobody could take note of: the thread that keeps book is too far behind.
    pub usage_lost: u64,
    /// TCP and TLS connections.
    pub streams: StreamCounters,
}
