//! What is configured.

use std::time::Duration;

/// How the relay behaves. Defaults are those of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Until the first frame must have come. Default 5 s.
    pub hello_timeout: Duration,
    /// How often a silent client is asked whether it is there. Default 25 s.
    pub heartbeat_interval: Duration,
    /// How long it then has. Default 10 s.
    pub heartbeat_timeout: Duration,
    /// How long a session without a socket waits to be resumed. Default 60 s.
    pub resume_ttl: Duration,
    /// Frames kept for replay. Default 256.
    pub ring_frames: usize,
    /// Bytes kept for replay. Default 256 KiB.
    pub ring_bytes: usize,
    /// Answers remembered for requests that are sent again. Default 128.
    pub replies: usize,
    /// How long a call rings unless the caller says. Default 60 s, at most `ring_timeout_max`.
    pub ring_timeout: Duration,
    /// How long a call may ring. Default 180 s.
    pub ring_timeout_max: Duration,
    /// How long peers wait for a lost socket of a call before they are told `lost`. Default 20 s.
    pub away_grace: Duration,
    /// How long a user without devices still counts as present. Default 5 s.
    pub presence_grace: Duration,
    /// How long a session lives on after its token. Default 25 s.
    pub token_grace: Duration,
    /// Limits.
    pub limits: Limits,
}

/// What one client may do, and how often. `0` for any rate is unlimited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a frame. Default 64 KiB.
    pub frame_bytes: usize,
    /// Bytes of a frame before the session is authenticated. Default 16 KiB.
    pub hello_bytes: usize,
    /// Sockets on this node. Default 100 000.
    pub connections: usize,
    /// Sockets without a session at once, in all. Default 10 000.
    pub connections_unauthenticated: usize,
    /// Sockets without a session at once, per address. Default 20.
    pub unauthenticated_per_address: usize,
    /// New sockets per second and address. Default 10, 50 at once.
    pub connects_per_address: u32,
    /// Burst of `connects_per_address`.
    pub connects_burst: u32,
    /// Failed `hello`s per half hour and address before they are delayed. Default 10.
    pub hello_failures: u32,
    /// Frames per second and session. Default 50, 200 at once.
    pub frames_per_second: u32,
    /// Burst of `frames_per_second`.
    pub frames_burst: u32,
    /// Bytes per second and session. Default 256 KiB, 1 MiB at once.
    pub bytes_per_second: u32,
    /// Burst of `bytes_per_second`.
    pub bytes_burst: u32,
    /// Descriptions (offers, answers) per second and session. Default 5.
    pub descriptions_per_second: u32,
    /// Candidates per second and session. Default 100.
    pub candidates_per_second: u32,
    /// Refused frames per minute and session before it is closed 4429. Default 20.
    pub errors_per_minute: u32,
    /// Sessions of a user at once; grants may say less. Default 10.
    pub sessions_per_user: u32,
    /// Offers per minute and user. Default 10.
    pub offers_per_minute: u32,
    /// Offers per hour and user. Default 120.
    pub offers_per_hour: u32,
    /// Different callees per hour and user. Default 30.
    pub callees_per_hour: u32,
    /// Calls of a user that ring at once. Default 3.
    pub ringing_per_user: u32,
    /// Offers per minute from one user to another. Default 5.
    pub offers_per_pair: u32,
    /// Offers per minute that reach a user. Default 20.
    pub offers_per_callee: u32,
    /// After a callee declined, the caller waits this long, doubled each time. Default 30 s; zero is off.
    pub declined_delay: Duration,
    /// Joins per minute and user. Default 30.
    pub joins_per_minute: u32,
    /// Members of a room. Default 200.
    pub room_members: usize,
    /// Rooms of a session. Default 50.
    pub rooms_per_session: usize,
    /// Users a session watches. Default 1000.
    pub watches_per_session: usize,
    /// Candidates kept for a device that has not got the offer yet. Default 64.
    pub candidates_kept: usize,
    /// Calls of a node at once. Default 100 000.
    pub calls: usize,
    /// Bytes of the `state` of a room's member. Default 4 KiB.
    pub state_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            hello_timeout: Duration::from_secs(5),
            heartbeat_interval: Duration::from_secs(25),
            heartbeat_timeout: Duration::from_secs(10),
            resume_ttl: Duration::from_secs(60),
            ring_frames: 256,
            ring_bytes: 256 << 10,
            replies: 128,
            ring_timeout: Duration::from_secs(60),
            ring_timeout_max: Duration::from_secs(180),
            away_grace: Duration::from_secs(20),
            presence_grace: Duration::from_secs(5),
            token_grace: Duration::from_secs(25),
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes: 64 << 10,
            hello_bytes: 16 << 10,
            connections: 100_000,
            connections_unauthenticated: 10_000,
            unauthenticated_per_address: 20,
            connects_per_address: 10,
            connects_burst: 50,
            hello_failures: 10,
            frames_per_second: 50,
            frames_burst: 200,
            bytes_per_second: 256 << 10,
            bytes_burst: 1 << 20,
            descriptions_per_second: 5,
            candidates_per_second: 100,
            errors_per_minute: 20,
            sessions_per_user: 10,
            offers_per_minute: 10,
            offers_per_hour: 120,
            callees_per_hour: 30,
            ringing_per_user: 3,
            offers_per_pair: 5,
            offers_per_callee: 20,
            declined_delay: Duration::from_secs(30),
            joins_per_minute: 30,
            room_members: 200,
            rooms_per_session: 50,
            watches_per_session: 1000,
            candidates_kept: 64,
            calls: 100_000,
            state_bytes: 4 << 10,
        }
    }
}
