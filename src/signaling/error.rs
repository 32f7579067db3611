//! What requests are refused with.

/// The `code` of an `error` frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// A field is missing or wrong; `message` says which.
    BadRequest,
    /// No frame of this type is known.
    UnknownType,
    /// The frame is beyond a limit.
    TooLarge,
    /// The first frame must be `hello`.
    HelloExpected,
    /// The token is not taken.
    Unauthorized,
    /// The token has run out.
    TokenExpired,
    /// The token begins later; `details.skew` says by how many seconds.
    TokenNotYetValid,
    /// Not allowed.
    Forbidden,
    /// There is no such room, session or user.
    NotFound,
    /// The other side has no session.
    PeerOffline,
    /// There is no such call, or it is another's.
    NoSuchCall,
    /// The call is over.
    CallEnded,
    /// Another device was first.
    AnsweredElsewhere,
    /// The callee is in too many calls.
    Busy,
    /// A crossed offer won; `details.call` names it.
    Glare,
    /// The id is in use.
    Duplicate,
    /// Too often; `retryAfter` says when again.
    RateLimited,
    /// Too many at once.
    LimitExceeded,
    /// Not now: another node or the store cannot be reached.
    Unavailable,
    /// The backend did not answer in time.
    UpstreamTimeout,
    /// Our fault.
    Internal,
}

impl ErrorCode {
    /// Every code.
    pub const ALL: [Self; 21] = [
        Self::BadRequest,
        Self::UnknownType,
        Self::TooLarge,
        Self::HelloExpected,
        Self::Unauthorized,
        Self::TokenExpired,
        Self::TokenNotYetValid,
        Self::Forbidden,
        Self::NotFound,
        Self::PeerOffline,
        Self::NoSuchCall,
        Self::CallEnded,
        Self::AnsweredElsewhere,
        Self::Busy,
        Self::Glare,
        Self::Duplicate,
        Self::RateLimited,
        Self::LimitExceeded,
        Self::Unavailable,
        Self::UpstreamTimeout,
        Self::Internal,
    ];

    /// As it stands in a frame.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::UnknownType => "unknown-type",
            Self::TooLarge => "too-large",
            Self::HelloExpected => "hello-expected",
            Self::Unauthorized => "unauthorized",
            Self::TokenExpired => "token-expired",
            Self::TokenNotYetValid => "token-not-yet-valid",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not-found",
            Self::PeerOffline => "peer-offline",
            Self::NoSuchCall => "no-such-call",
            Self::CallEnded => "call-ended",
            Self::AnsweredElsewhere => "answered-elsewhere",
            Self::Busy => "busy",
            Self::Glare => "glare",
            Self::Duplicate => "duplicate",
            Self::RateLimited => "rate-limited",
            Self::LimitExceeded => "limit-exceeded",
            Self::Unavailable => "unavailable",
            Self::UpstreamTimeout => "upstream-timeout",
            Self::Internal => "internal",
        }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::RateLimited | Self::Unavailable | Self::UpstreamTimeout | Self::Internal)
    }
}

/// Why a text is no frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// It is no JSON object with a `type`.
    #[error("a frame is a JSON object with a \"type\": {0}")]
    NotJson(String),
    /// No frame of this type is known; carries its `id`, to be answered.
    #[error("no frame has the type {kind:?}")]
    UnknownType {
        /// The type, cut to 64 characters.
        kind: String,
        /// The request's.
        id: Option<String>,
    },
    /// A field is missing or wrong; carries its `id`, to be answered.
    #[error("{problem}")]
    Field {
        /// Which, and what it should be.
        problem: String,
        /// The request's.
        id: Option<String>,
    },
}
