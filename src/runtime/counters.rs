//! What the runtime counts beside the core: plain integers of one shard.

use super::stream::StreamCounters;
use crate::turn::BindError;

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
    /// ICMP errors read from relay sockets.
    pub icmp_errors: u64,
    /// Relay sockets that could not be bound because the port was taken by another process.
    pub bind_port_in_use: u64,
    /// Relay sockets that could not be bound for want of descriptors or memory.
    pub bind_out_of_resources: u64,
    /// Relay sockets that the system refused to bind.
    pub bind_refused: u64,
    /// TCP and TLS connections.
    pub streams: StreamCounters,
}

impl RuntimeCounters {
    /// Counts a relay socket that could not be bound.
    pub(crate) fn count_bind_failure(&mut self, error: BindError) {
        let counter = match error {
            BindError::PortInUse => &mut self.bind_port_in_use,
            BindError::OutOfResources => &mut self.bind_out_of_resources,
            BindError::Refused => &mut self.bind_refused,
        };
        *counter += 1;
    }
}
