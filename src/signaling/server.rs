//! The relay of one node, as whoever drives it sees it.

#![allow(unused_variables)]

use std::time::Duration;

use super::{
    Client, CloseCode, ConnectionId, Decision, Denial, EventNumber, Frame, FrameError, Grants, IceServers,
    Identity, Instant, Next, NodeName, Now, Options, Output, PushReason, Revoke, SessionId, UserId,
};

/// What a relay is made with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What is configured.
    pub options: Options,
    /// This node.
    pub node: NodeName,
    /// This run of it, greater than those before.
    pub run: u64,
    /// 256 random bits, of this run alone: names of sessions and resume tokens are derived from it.
    pub key: zeroize::Zeroizing<[u8; 32]>,
}

/// What is to be done with a socket after its frames are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Nothing.
    Open,
    /// Send a ping (RFC 6455 §5.5.2).
    Ping,
    /// Close it.
    Close(CloseCode),
}

/// The relay of one node.
#[derive(Debug)]
pub struct Server {
    setup: Setup,
}

impl Server {
    /// A relay without sockets.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        Self { setup }
    }

    /// Takes over what can change while it runs.
    pub fn set_options(&mut self, options: Options) {
        self.setup.options = options;
    }

    /// A socket was opened, by somebody whom the driver has authenticated already (header, ticket) or not.
    ///
    /// # Errors
    /// There are too many, of this address or in all: close it with the code. Refused ones leave nothing behind.
    pub fn handle_open(
        &mut self,
        now: Now,
        connection: ConnectionId,
        client: Client,
        identity: Option<Box<Identity>>,
    ) -> Result<(), CloseCode> {
        Ok(())
    }

    /// A text frame of `bytes` bytes came, read by [`Frame::read`].
    pub fn handle_frame(
        &mut self,
        now: Now,
        connection: ConnectionId,
        frame: Result<Frame<'_>, FrameError>,
        bytes: usize,
    ) -> Next {
        Next::More
    }

    /// The answer to what [`handle_frame`](Self::handle_frame) asked.
    pub fn handle_decision(&mut self, now: Now, connection: ConnectionId, decision: Decision) -> Next {
        Next::More
    }

    /// Whether no frame is to be handed in yet, after [`Next::Wait`].
    #[must_use]
    pub fn is_waiting(&self, connection: ConnectionId) -> bool {
        false
    }

    /// A frame came that breaks the rules before it can be read: binary (4402) or too large (4413).
    pub fn handle_violation(&mut self, now: Now, connection: ConnectionId, code: CloseCode) {}

    /// Something was heard that is no frame: a ping or a pong.
    pub fn handle_alive(&mut self, now: Now, connection: ConnectionId) {}

    /// The socket is gone, whoever closed it. Its session waits to be resumed.
    pub fn handle_closed(&mut self, now: Now, connection: ConnectionId) {}

    /// Moves what is to be written to `frames`, at most about 64 KiB at once; what is left wakes the connection again
    /// after the next call. To be called when it was woken and whenever all was written.
    pub fn poll_connection(
        &mut self,
        now: Now,
        connection: ConnectionId,
        frames: &mut Vec<String>,
    ) -> Written {
        Written::Open
    }

    /// Whether a socket is to be closed, for a driver that cannot write what it took before.
    #[must_use]
    pub fn closing(&self, connection: ConnectionId) -> Option<CloseCode> {
        None
    }

    /// What a session of this node may do.
    #[must_use]
    pub fn grants(&self, session: SessionId) -> Option<&Grants> {
        None
    }

    /// What else is to be done; to be drained after every call of `handle_*`.
    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {}

    /// The ICE servers that [`Output::IceServers`] asked for.
    pub fn handle_ice_servers(
        &mut self,
        now: Now,
        session: SessionId,
        reason: PushReason,
        servers: Result<IceServers, Denial>,
    ) {
    }

    /// All events up to this one are kept: answers that waited for that go out.
    pub fn handle_recorded(&mut self, now: Now, up_to: EventNumber) {}

    /// Another node is there: its first heartbeat, or a new run of it.
    pub fn handle_node_up(&mut self, now: Now, node: &NodeName, run: u64) {}

    /// The lease of another node is over, or it left. Its sessions are lost.
    pub fn handle_node_down(&mut self, now: Now, node: &NodeName) {}

    /// Another node sent this.
    pub fn handle_link(&mut self, now: Now, node: &NodeName, run: u64, bytes: &[u8]) {}

    /// Other nodes can, or cannot, be reached at present; while not, what goes to them waits.
    pub fn handle_bus(&mut self, now: Now, is_up: bool) {}

    /// Tells every client to go elsewhere, and closes them spread over `within`.
    pub fn drain(&mut self, now: Now, within: Duration) {}

    /// Ends the sessions that are hit, here; answers how many. Their sockets are closed with 4403 or 4204.
    pub fn revoke(&mut self, now: Now, revoke: &Revoke) -> usize {
        0
    }

    /// Asks for fresh ICE servers for the sessions of one user, or all.
    pub fn push_ice_servers(&mut self, now: Now, reason: PushReason, user: Option<&UserId>) {}
}
