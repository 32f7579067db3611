//! Giving commands: one connection for all of them, answered in time or not at all.

use std::{sync::Arc, time::Duration};

use redis::{
    Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value, aio::ConnectionLike as _,
    cluster_async::ClusterConnection,
};
use tokio::time::timeout;

use super::{connect::anywhere, counters::Counters, guarded::Guarded, scripts::Script};

/// One connection to one server, or one to each master of a Cluster. Clones share it.
#[derive(Clone)]
pub(super) enum Connection {
    One(Guarded),
    Cluster(ClusterConnection<Guarded>),
}

/// Gives commands.
#[derive(Clone)]
pub(super) struct Commands {
    connection: Connection,
    counters: Arc<Counters>,
    timeout: Duration,
    /// Whether messages go through sharded channels.
    is_sharded: bool,
}

impl Commands {
    pub(super) fn new(
        connection: Connection,
        counters: Arc<Counters>,
        timeout: Duration,
        is_sharded: bool,
    ) -> Self {
        Self { connection, counters, timeout, is_sharded }
    }

    pub(super) fn into_connection(self) -> Connection {
        self.connection
    }

    /// Gives a command and waits for its answer, no longer than `redis.command_timeout`.
    pub(super) async fn run(&self, command: Cmd) -> RedisResult<Value> {
        let mut connection = self.connection.clone();
        let answer = async {
            match &mut connection {
                Connection::One(connection) => connection.req_packed_command(&command).await,
                Connection::Cluster(connection) => connection.req_packed_command(&command).await,
            }
        };
        self.answered(answer).await
    }

    /// The same where a Cluster may choose the server.
    pub(super) async fn run_anywhere(&self, command: Cmd) -> RedisResult<Value> {
        let mut connection = self.connection.clone();
        let answer = async {
            match &mut connection {
                Connection::One(connection) => connection.req_packed_command(&command).await,
                Connection::Cluster(connection) => connection.route_command(command, anywhere()).await,
            }
        };
        self.answered(answer).await
    }

    /// Runs a script; Redis is sent its text when it does not have it yet.
    pub(super) async fn script(
        &self,
        script: &Script,
        keys: &[&str],
        add_arguments: impl Fn(&mut Cmd),
    ) -> RedisResult<Value> {
        let with = |name: &str, body: &str| {
            let mut command = redis::cmd(name);
            command.arg(body).arg(keys.len()).arg(keys);
            add_arguments(&mut command);
            command
        };
        match self.run(with("EVALSHA", script.digest())).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.run(with("EVAL", script.source)).await
            }
            answer => answer,
        }
    }

    /// Sends a message into a channel.
    pub(super) async fn publish(&self, channel: &str, message: &[u8]) -> RedisResult<Value> {
        let name = if self.is_sharded { "SPUBLISH" } else { "PUBLISH" };
        self.run(redis::cmd(name).arg(channel).arg(message).take()).await
    }

    async fn answered(&self, answer: impl Future<Output = RedisResult<Value>>) -> RedisResult<Value> {
        Counters::add(&self.counters.commands);
        let answer = match timeout(self.timeout, answer).await {
            Ok(answer) => answer.and_then(Value::extract_error),
            Err(_) => Err(RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut))),
        };
        // A script that is not there yet is no failure.
        if answer.as_ref().is_err_and(|error| error.kind() != ErrorKind::Server(ServerErrorKind::NoScript)) {
            Counters::add(&self.counters.commands_failed);
        }
        answer
    }
}
