//! The first frame of a socket: whose it is, and which session it wants.

use std::{sync::Arc, time::Duration};

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{
    Ask, Body, CloseCode, ConnectionId, Denial, ErrorCode, Frame, FrameError, Hello, Identity, Instant, Next,
    Now, Server, SessionId,
    counters::Rule,
    deliver::Refusal,
    is_traceparent,
    session::{
        Attachment, RequestId,
        queue::{Answer, Note},
    },
    sockets::{Asked, Delay, Stage},
    timers::Timer,
    welcome::{Loss, Resumed},
};

/// A `hello`, while somebody says whose it is.
pub(super) struct Greeting {
    pub(super) id: Option<RequestId>,
    pub(super) device: Box<str>,
    pub(super) resume: Option<Resumption>,
}

/// Which session goes on, and from where.
pub(super) struct Resumption {
    pub(super) session: SessionId,
    /// SHA-256 of its token.
    pub(super) token: [u8; 32],
    pub(super) epoch: Box<str>,
    pub(super) seq: u64,
}

/// A client that is known, and whose session is fetched from another node.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) connection: ConnectionId,
    pub(super) greeting: Greeting,
    pub(super) identity: Box<Identity>,
}

/// Failed hellos are answered the later the more there were.
const DELAY_FIRST: Duration = Duration::from_millis(100);
const DELAY_MAX: Duration = Duration::from_secs(25);

impl Server {
    pub(super) fn first_frame(
        &mut self,
        now: Now,
        connection: ConnectionId,
        frame: Result<Frame<'_>, FrameError>,
        bytes: usize,
    ) -> Next {
        if bytes > self.setup.options.limits.hello_bytes {
            self.close(now, connection, CloseCode::TooLarge);
            return Next::More;
        }
        let (id, hello) = match frame {
            Ok(Frame { id, body: Body::Hello(hello), .. }) => (id, hello),
            Ok(Frame { id, .. }) => {
                let refusal = Refusal::new(ErrorCode::HelloExpected, "the first frame is hello");
                return self.turn_away(now, connection, id.as_deref(), &refusal, CloseCode::BadProtocol);
            }
            Err(error) => {
                let refusal = Refusal::new(ErrorCode::BadRequest, error.to_string());
                return self.turn_away(now, connection, None, &refusal, CloseCode::BadProtocol);
            }
        };
        self.hello(now, connection, id.as_deref(), hello)
    }

    fn hello(&mut self, now: Now, connection: ConnectionId, id: Option<&str>, hello: Hello<'_>) -> Next {
        if hello.version != 1 {
            let refusal = Refusal::new(ErrorCode::BadRequest, "v is 1");
            return self.turn_away(now, connection, id, &refusal, CloseCode::BadProtocol);
        }
        let greeting = Greeting {
            id: id.map(Arc::from),
            device: hello.device.unwrap_or_default().into(),
            resume: hello.resume.map(|resume| Resumption {
                session: resume.session,
                token: token_hash(&resume.token),
                epoch: resume.epoch.into(),
                seq: resume.seq,
            }),
        };
        let Some(socket) = self.sockets.get_mut(connection) else { return Next::More };
        let known = match &mut socket.stage {
            Stage::New(identity) => identity.take(),
            Stage::Waiting | Stage::Attached(_) | Stage::Closing(..) | Stage::Delayed(_) => None,
        };
        if socket.asked.is_some() {
            return Next::More;
        }
        if let Some(identity) = known {
            return self.greet(now, Arrival { connection, greeting, identity });
        }
        let Some(token) = hello.token else {
            let refusal = Refusal::new(ErrorCode::Unauthorized, "token is missing");
            return self.turn_away(now, connection, id, &refusal, CloseCode::Unauthorized);
        };
        let traceparent = hello.traceparent.filter(|text| is_traceparent(text)).map(Box::from);
        let ask = Ask::Hello { token: token.into(), device: greeting.device.clone(), traceparent };
        socket.asked = Some(Box::new(Asked::Hello(Box::new(greeting))));
        Next::Ask(Box::new(ask))
    }

    /// Somebody said whose the token of a `hello` is.
    pub(super) fn identified(
        &mut self,
        now: Now,
        connection: ConnectionId,
        greeting: Greeting,
        identity: Result<Box<Identity>, Denial>,
    ) -> Next {
        let denial = match identity {
            Ok(identity) => return self.greet(now, Arrival { connection, greeting, identity }),
            Err(denial) => denial,
        };
        self.counters.hellos_refused += 1;
        let code = match denial.code {
            ErrorCode::Forbidden => CloseCode::Forbidden,
            ErrorCode::LimitExceeded => CloseCode::ConnectionLimit,
            // Another try may go well.
            ErrorCode::RateLimited
            | ErrorCode::Unavailable
            | ErrorCode::UpstreamTimeout
            | ErrorCode::Internal => CloseCode::Internal,
            ErrorCode::BadRequest
            | ErrorCode::UnknownType
            | ErrorCode::TooLarge
            | ErrorCode::HelloExpected
            | ErrorCode::Unauthorized
            | ErrorCode::TokenExpired
            | ErrorCode::TokenNotYetValid
            | ErrorCode::NotFound
            | ErrorCode::PeerOffline
            | ErrorCode::NoSuchCall
            | ErrorCode::CallEnded
            | ErrorCode::AnsweredElsewhere
            | ErrorCode::Busy
            | ErrorCode::Glare
            | ErrorCode::Duplicate => CloseCode::Unauthorized,
        };
        let refusal = Refusal::from(&denial);
        let text = error_text(greeting.id.as_deref(), &refusal);
        if let Some(at) = self.failure_delay(now, connection, code) {
            self.sockets.set_stage(connection, Stage::Delayed(Box::new(Delay { until: at, code, text })));
            self.timer(at, Timer::Connection(connection));
        } else {
            self.close_after(now, connection, code, Some(text));
        }
        Next::More
    }

    /// Until when the answer to a hello that failed is held back.
    fn failure_delay(&mut self, now: Now, connection: ConnectionId, code: CloseCode) -> Option<Instant> {
        if code == CloseCode::Internal {
            return None;
        }
        let address = self.sockets.get(connection)?.address;
        let failures = self.sockets.hello_failed(now.monotonic, address);
        let free = self.setup.options.limits.hello_failures;
        let beyond = failures.checked_sub(free).filter(|beyond| *beyond > 0 && free > 0)?;
        self.counters.tripped(Rule::HelloFailures);
        let delay = DELAY_FIRST.saturating_mul(1 << (beyond - 1).min(16)).min(DELAY_MAX);
        Some(now.monotonic.after(delay))
    }

    /// A client that is known comes in.
    fn greet(&mut self, now: Now, arrival: Arrival) -> Next {
        let Some(resume) = &arrival.greeting.resume else {
            return self.welcome_new(now, arrival, Resumed::No);
        };
        let id = resume.session;
        let Some(session) = self.sessions.get(id) else {
            let loss = if self.sessions.is_expired(id) { Loss::Expired } else { Loss::Unknown };
            if self.directory.session(id).is_none() {
                return self.welcome_new(now, arrival, Resumed::Gone(loss));
            }
            let connection = arrival.connection;
            return match self.fetch_session(now, Box::new(arrival)) {
                Ok(next) => {
                    self.sockets.set_stage(connection, Stage::Waiting);
                    next
                }
                Err(arrival) => self.welcome_new(now, *arrival, Resumed::Gone(loss)),
            };
        };
        let is_theirs = bool::from(session.resume.ct_eq(&resume.token))
            && session.place.user == arrival.identity.user
            && !matches!(session.attachment, Attachment::Carried(_));
        if !is_theirs {
            return self.welcome_new(now, arrival, Resumed::Gone(Loss::Unknown));
        }
        self.go_on(now, arrival, id)
    }

    /// The end of [`fetch_session`](Self::fetch_session): the session has come here, or not.
    pub(super) fn finish_arrival(&mut self, now: Now, arrival: Arrival, has_come: bool) {
        let connection = arrival.connection;
        let is_waiting = self.is_waiting(connection);
        if is_waiting {
            let next = match &arrival.greeting.resume {
                Some(resume) if has_come && self.sessions.get(resume.session).is_some() => {
                    let id = resume.session;
                    self.go_on(now, arrival, id)
                }
                Some(_) | None => self.welcome_new(now, arrival, Resumed::Gone(Loss::Unknown)),
            };
            debug_assert!(matches!(next, Next::More), "nothing is left to ask");
            self.wake(connection);
        }
    }

    /// Refuses a socket that has no session.
    pub(super) fn turn_away(
        &mut self,
        now: Now,
        connection: ConnectionId,
        id: Option<&str>,
        refusal: &Refusal,
        code: CloseCode,
    ) -> Next {
        self.close_after(now, connection, code, Some(error_text(id, refusal)));
        Next::More
    }
}

/// SHA-256 of a resume token as clients have it.
fn token_hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// The answer to a request that is refused, as text.
pub(super) fn error_text(id: Option<&str>, refusal: &Refusal) -> String {
    Note::Reply(Arc::from(id.unwrap_or_default()), Answer::Error(refusal.members())).text()
}

/// Tokens stay out of logs.
impl std::fmt::Debug for Greeting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Greeting").field("id", &self.id).finish_non_exhaustive()
    }
}
