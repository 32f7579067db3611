//! A client with a session.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{Came, Node, Socket};

/// Frames between two acknowledgements.
const ACK_EVERY: u64 = 16;

/// A client that said hello and was welcomed.
pub(crate) struct Client {
    pub(crate) socket: Socket,
    /// The last welcome.
    pub(crate) welcome: Value,
    token: String,
    from: IpAddr,
    seq: u64,
    acked: u64,
    acks: bool,
    next_id: u64,
    waiting: VecDeque<Value>,
    repeated: u64,
}

/// What is left of a client whose socket is gone: enough to resume.
#[derive(Clone, Debug)]
pub(crate) struct Lost {
    pub(crate) token: String,
    pub(crate) session: String,
    pub(crate) epoch: String,
    pub(crate) resume_token: String,
    pub(crate) seq: u64,
    from: IpAddr,
    next_id: u64,
    /// Frames that had come and were not taken yet; they count as seen.
    waiting: VecDeque<Value>,
}

impl Client {
    /// Connects and says hello; the device is that of the token.
    pub(crate) async fn open(node: &Node, token: &str) -> Self {
        Self::open_from(Ipv4Addr::LOCALHOST.into(), node, token).await
    }

    /// The same from another address of this machine.
    pub(crate) async fn open_from(from: IpAddr, node: &Node, token: &str) -> Self {
        let socket = Socket::open_from(from, node.http, &[]).await;
        Self::hello(socket, from, token).await
    }

    /// Says hello on a socket that is open already.
    pub(crate) async fn hello(mut socket: Socket, from: IpAddr, token: &str) -> Self {
        socket.send(&json!({ "id": "hello", "type": "hello", "v": 1, "token": token })).await;
        let welcome = first(&mut socket).await;
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        Self::welcomed(socket, welcome, from, token.to_owned())
    }

    fn welcomed(socket: Socket, welcome: Value, from: IpAddr, token: String) -> Self {
        let waiting = VecDeque::new();
        let (seq, acked, next_id, repeated) = (0, 0, 0, 0);
        Self { socket, welcome, token, from, seq, acked, acks: true, next_id, waiting, repeated }
    }

    /// The session's id.
    pub(crate) fn session(&self) -> &str {
        self.welcome["session"].as_str().unwrap_or_else(|| panic!("{}", self.welcome))
    }

    /// The last stateful frame that was taken.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    /// How many frames came again after a resumption and were dropped.
    pub(crate) fn repeated(&self) -> u64 {
        self.repeated
    }

    /// From now on nothing is acknowledged by itself.
    pub(crate) fn without_acks(mut self) -> Self {
        self.acks = false;
        self
    }

    /// Acknowledges all that was taken.
    pub(crate) async fn ack(&mut self) {
        self.acked = self.seq;
        self.socket.send(&json!({ "type": "ack", "seq": self.seq })).await;
    }

    /// Sends a frame as it is.
    pub(crate) async fn send(&mut self, frame: Value) {
        self.socket.send(&frame).await;
    }

    /// Sends any message.
    pub(crate) async fn send_message(&mut self, message: Message) {
        self.socket.send_message(message).await;
    }

    /// Sends a request under an id of its own, which it answers.
    pub(crate) async fn ask(&mut self, mut frame: Value) -> String {
        self.next_id += 1;
        let id = format!("c{}", self.next_id);
        frame["id"] = json!(id);
        self.send(frame).await;
        id
    }

    /// The answer to a request; frames that come before it wait to be taken.
    pub(crate) async fn answer(&mut self, id: &str) -> Value {
        if let Some(at) = self.waiting.iter().position(|frame| frame["re"] == id) {
            return self.waiting.remove(at).unwrap_or_default();
        }
        loop {
            let frame = self.read().await;
            if frame["re"] == id {
                return frame;
            }
            self.waiting.push_back(frame);
        }
    }

    /// Sends a request that must be answered `ok`.
    pub(crate) async fn request(&mut self, frame: Value) -> Value {
        let answer = self.answer_to(frame.clone()).await;
        assert_eq!(answer["type"], "ok", "to {frame}: {answer}");
        answer
    }

    /// Sends a request that must be answered with this error.
    pub(crate) async fn refused(&mut self, frame: Value, code: &str) -> Value {
        let answer = self.answer_to(frame.clone()).await;
        assert_eq!(
            (&answer["type"], &answer["code"]),
            (&json!("error"), &json!(code)),
            "to {frame}: {answer}"
        );
        answer
    }

    /// Sends a request and waits for its answer, whatever it is.
    pub(crate) async fn answer_to(&mut self, frame: Value) -> Value {
        let id = self.ask(frame).await;
        self.answer(&id).await
    }

    /// The next frame that is no answer.
    pub(crate) async fn next(&mut self) -> Value {
        if let Some(at) = self.waiting.iter().position(|frame| frame["re"].is_null()) {
            return self.waiting.remove(at).unwrap_or_default();
        }
        loop {
            let frame = self.read().await;
            if frame["re"].is_null() {
                return frame;
            }
            self.waiting.push_back(frame);
        }
    }

    /// The next frame that is no answer, within a time.
    pub(crate) async fn try_next(&mut self, limit: Duration) -> Option<Value> {
        tokio::time::timeout(limit, self.next_at_all()).await.ok()
    }

    /// What comes next, be it the end; answers are left out.
    pub(crate) async fn came(&mut self) -> Came {
        if let Some(at) = self.waiting.iter().position(|frame| frame["re"].is_null()) {
            return Came::Frame(self.waiting.remove(at).unwrap_or_default());
        }
        loop {
            match self.socket.next().await {
                Came::Frame(frame) => match self.take(frame).await {
                    Some(frame) if frame["re"].is_null() => return Came::Frame(frame),
                    Some(frame) => self.waiting.push_back(frame),
                    None => {}
                },
                closed @ Came::Closed(_) => return closed,
            }
        }
    }

    /// The next frame that is no answer, which must be of this type.
    pub(crate) async fn expect(&mut self, kind: &str) -> Value {
        let frame = self.next().await;
        assert_eq!(frame["type"], kind, "{frame}");
        frame
    }

    /// The next frame that is no answer, however long it takes.
    async fn next_at_all(&mut self) -> Value {
        loop {
            match self.socket.next_within(Duration::from_secs(3600)).await {
                Some(Came::Frame(frame)) => {
                    if let Some(frame) = self.take(frame).await
                        && frame["re"].is_null()
                    {
                        return frame;
                    }
                }
                other => panic!("{other:?} while {} waits", self.session()),
            }
        }
    }

    /// Takes frames until one is of this type; the others are forgotten.
    pub(crate) async fn wait_for(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.next().await;
            if frame["type"] == kind {
                return frame;
            }
        }
    }

    /// Nothing comes for this long.
    pub(crate) async fn expect_silence(&mut self, limit: Duration) {
        assert!(self.waiting.iter().all(|frame| !frame["re"].is_null()), "{:?}", self.waiting);
        let came = self.socket.next_within(limit).await;
        assert!(came.is_none(), "{came:?}");
    }

    /// Everything that comes until nothing has come for this long, answers excepted.
    pub(crate) async fn all_until_silence(&mut self, silence: Duration) -> Vec<Value> {
        let mut all: Vec<Value> = self.waiting.drain(..).filter(|frame| frame["re"].is_null()).collect();
        while let Some(Came::Frame(frame)) = self.socket.next_within(silence).await {
            if let Some(frame) = self.take(frame).await
                && frame["re"].is_null()
            {
                all.push(frame);
            }
        }
        all
    }

    /// Reads on until the server closes; its code.
    pub(crate) async fn closed(&mut self) -> u16 {
        self.socket.closed().await
    }

    /// The socket is gone without a word.
    pub(crate) fn lose(self) -> Lost {
        let text = |name: &str| self.welcome[name].as_str().unwrap_or_default().to_owned();
        Lost {
            token: self.token.clone(),
            session: text("session"),
            epoch: text("epoch"),
            resume_token: text("resumeToken"),
            seq: self.seq,
            from: self.from,
            next_id: self.next_id,
            waiting: self.waiting.clone(),
        }
    }

    /// Reads one frame that was not there before.
    async fn read(&mut self) -> Value {
        loop {
            match self.socket.next().await {
                Came::Frame(frame) => {
                    if let Some(frame) = self.take(frame).await {
                        return frame;
                    }
                }
                Came::Closed(code) => panic!("closed with {code:?} while {} waits", self.session()),
            }
        }
    }

    /// Accounts for a frame; `None` if it is an old one.
    async fn take(&mut self, frame: Value) -> Option<Value> {
        let Some(seq) = frame["seq"].as_u64() else { return Some(frame) };
        if seq <= self.seq {
            self.repeated += 1;
            return None;
        }
        assert_eq!(seq, self.seq + 1, "a frame is missing before {frame}");
        self.seq = seq;
        if self.acks && self.seq >= self.acked + ACK_EVERY {
            self.ack().await;
        }
        Some(frame)
    }
}

impl Lost {
    /// Resumes on a node, which must make the session whole.
    pub(crate) async fn resume(&self, node: &Node) -> Client {
        let client = self.try_resume(node).await.unwrap_or_else(|answer| panic!("{answer}"));
        assert_eq!(client.welcome["resumed"], true, "{}", client.welcome);
        client
    }

    /// Resumes on a node that must have to begin a new session, for this reason.
    pub(crate) async fn begin_anew(&self, node: &Node, reason: &str) -> Client {
        let client = self.try_resume(node).await.unwrap_or_else(|answer| panic!("{answer}"));
        let welcome = &client.welcome;
        assert_eq!((&welcome["resumed"], &welcome["reason"]), (&json!(false), &json!(reason)), "{welcome}");
        client
    }

    /// Says a hello that resumes; the client if it was welcomed, whether whole or not, and otherwise the answer.
    pub(crate) async fn try_resume(&self, node: &Node) -> Result<Client, Value> {
        let mut socket = Socket::open_from(self.from, node.http, &[]).await;
        socket.send(&self.hello()).await;
        let welcome = first(&mut socket).await;
        if welcome["type"] != "welcome" {
            return Err(welcome);
        }
        let mut client = Client::welcomed(socket, welcome, self.from, self.token.clone());
        client.next_id = self.next_id;
        if client.welcome["resumed"] == true {
            (client.seq, client.acked) = (self.seq, self.seq);
            client.waiting = self.waiting.iter().filter(|frame| frame["re"].is_null()).cloned().collect();
        }
        Ok(client)
    }

    /// The hello that resumes.
    pub(crate) fn hello(&self) -> Value {
        json!({
            "id": "hello", "type": "hello", "v": 1, "token": self.token,
            "resume": {
                "session": self.session, "token": self.resume_token, "epoch": self.epoch, "seq": self.seq,
            },
        })
    }
}

async fn first(socket: &mut Socket) -> Value {
    match socket.next().await {
        Came::Frame(frame) => frame,
        Came::Closed(code) => panic!("closed with {code:?} instead of a welcome"),
    }
}
