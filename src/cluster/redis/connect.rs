//! Connecting: one server, the master that sentinels name, or a Cluster; plain or over TLS.

use std::{sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, FromRedisValue as _, IntoConnectionInfo as _,
    ProtocolVersion, RedisConnectionInfo, RedisError, TlsMode, Value,
    aio::ConnectionLike as _,
    cluster::ClusterClientBuilder,
    cluster_routing::{RoutingInfo, SingleNodeRoutingInfo},
};
use tokio::time::timeout;

use super::{
    commands::{Commands, Connection},
    counters::Counters,
    guarded::Guarded,
    keys,
    pushes::{Pushes, pushes},
    tls::Certificates,
    words,
};
use crate::{
    cluster::OpenError,
    config::{self, RedisLayout, RedisUrl, SecretBytes},
};

/// The oldest Redis that has all that is used here.
const VERSION_MIN: (u32, u32) = (6, 2);
/// The first with sharded channels.
const VERSION_SHARDED: (u32, u32) = (7, 0);

/// Why there is no connection. One line each, with what to do.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// Refused, gone, or not what it should be.
    #[error("{0} cannot be used: {1}")]
    Failed(String, String),
    /// It did not answer in time.
    #[error("{0} does not answer")]
    Silent(String),
    /// Too old.
    #[error("{0} is version {1}; Redis 6.2 or newer is needed, or Valkey")]
    Old(String, String),
    /// It answers, but not as a Redis does.
    #[error("{0} is of unknown version: it may be no Redis")]
    Nameless(String),
    /// It copies another one.
    #[error("{0} is a read-only replica; redis.url must name the master")]
    Replica(String),
    /// No sentinel knows the master.
    #[error("no sentinel names the master {0:?}: {1}")]
    NoMaster(String, String),
}

/// A connection for commands, one for messages, and what they lead to.
pub(super) struct Link {
    pub(super) commands: Commands,
    /// What the subscriptions bring.
    pub(super) pushes: Pushes,
    /// Keeps the subscriptions alive.
    _subscriber: Connection,
    /// Of the server: another one means that it began anew. Empty in a Cluster.
    pub(super) run_id: String,
    /// For people.
    pub(super) server: String,
    /// With sentinels: the master that is connected to.
    pub(super) master: Option<(String, u16)>,
}

impl ConnectError {
    /// Whether the user may not do what a connection needs.
    fn is_denial(&self) -> bool {
        matches!(self, Self::Failed(_, text) if text.contains("NOPERM") || text.contains("NoPerm"))
    }
}

/// A connection for commands alone.
pub(super) struct Reached {
    pub(super) commands: Commands,
    /// For people.
    pub(super) server: String,
    pub(super) version: String,
    master: Option<(String, u16)>,
}

/// How to connect.
pub(super) struct Connector {
    url: RedisUrl,
    password: Option<SecretBytes>,
    sentinel_password: Option<SecretBytes>,
    certificates: Option<Certificates>,
    connect_timeout: Duration,
    command_timeout: Duration,
    counters: Arc<Counters>,
    channel: String,
}

impl Connector {
    pub(super) fn new(
        config: &config::Redis,
        node: &str,
        counters: Arc<Counters>,
    ) -> Result<Self, OpenError> {
        let Some(url) = config.url.clone() else {
            return Err(OpenError::Peers("redis.url is not set".to_owned()));
        };
        if url.is_encrypted {
            // The library brings no cryptography of its own; an error says that it is installed already.
            drop(rustls::crypto::ring::default_provider().install_default());
        }
        Ok(Self {
            password: url.password.clone().or_else(|| config.password.clone()),
            certificates: Certificates::read(config, url.is_encrypted)?,
            url,
            sentinel_password: config.sentinel_password.clone(),
            connect_timeout: config.connect_timeout,
            command_timeout: config.command_timeout,
            counters,
            channel: keys::channel(node),
        })
    }

    /// Connects for commands alone and checks the server.
    pub(super) async fn reach(&self) -> Result<Reached, ConnectError> {
        if self.url.layout == RedisLayout::Cluster {
            let (server, commands, checked) = self.reach_cluster().await?;
            return Ok(Reached { commands, server, version: checked.shown, master: None });
        }
        let (master, host, server) = self.place().await?;
        let (commands, checked) = self.reach_one(&host, &server).await?;
        Ok(Reached { commands, server, version: checked.shown, master })
    }

    /// What a connection that was reached may not do of what messages need.
    pub(super) async fn subscribing_denied(&self, reached: &Reached) -> Option<String> {
        if self.url.layout == RedisLayout::Cluster {
            return self
                .connect_cluster()
                .await
                .err()
                .filter(ConnectError::is_denial)
                .map(|error| error.to_string());
        }
        let host = reached.master.clone().or_else(|| self.url.hosts.first().cloned())?;
        let (sender, _pushes) = pushes(&self.counters);
        let config = self.plain_config().set_push_sender(sender);
        let settings = self.settings();
        let connecting = self.open(&host, &settings, config);
        let mut subscriber = self.within(&reached.server, connecting).await.ok()?;
        let channel = &self.channel;
        let subscribed = timeout(self.command_timeout, subscriber.subscribe(channel)).await.ok()?;
        let denied = |error: &RedisError| error.code() == Some("NOPERM");
        if subscribed.as_ref().is_err_and(denied) {
            return Some("subscribe".to_owned());
        }
        let ended = timeout(self.command_timeout, subscriber.unsubscribe(channel)).await.ok()?;
        ended.as_ref().is_err_and(denied).then(|| "unsubscribe".to_owned())
    }

    /// The master that sentinels name, if there are any, where the server is, and what it is called for people.
    async fn place(&self) -> Result<(Option<(String, u16)>, (String, u16), String), ConnectError> {
        let master = match &self.url.layout {
            RedisLayout::Sentinel { master } => Some(self.find_master(master).await?),
            RedisLayout::Single | RedisLayout::Cluster => None,
        };
        let host = master.clone().or_else(|| self.url.hosts.first().cloned()).unwrap_or_default();
        let server = format!("Redis at {}:{}", host.0, host.1);
        Ok((master, host, server))
    }

    async fn reach_one(
        &self,
        host: &(String, u16),
        server: &str,
    ) -> Result<(Commands, Server), ConnectError> {
        let settings = self.settings();
        let connection = self.within(server, self.open(host, &settings, self.plain_config())).await?;
        let commands = self.commands(Connection::One(connection), false);
        let checked = self.check(&commands, server).await?;
        Ok((commands, checked))
    }

    /// Connects twice, checks the server and subscribes.
    pub(super) async fn connect(&self) -> Result<Link, ConnectError> {
        if self.url.layout == RedisLayout::Cluster {
            return self.connect_cluster().await;
        }
        let (master, host, server) = self.place().await?;
        let (commands, checked) = self.reach_one(&host, &server).await?;
        let run_id = checked.run_id;
        let (sender, pushes) = pushes(&self.counters);
        let config = self.plain_config().set_push_sender(sender);
        let settings = self.settings();
        let mut subscriber = self.within(&server, self.open(&host, &settings, config)).await?;
        for channel in [keys::BUS, &self.channel] {
            let subscribed = timeout(self.command_timeout, subscriber.subscribe(channel)).await;
            let subscribed = subscribed.map_err(|_| ConnectError::Silent(server.clone()))?;
            subscribed.map_err(|error| failed(&server, &error))?;
        }
        let subscriber = Connection::One(subscriber);
        Ok(Link { commands, pushes, _subscriber: subscriber, run_id, server, master })
    }

    async fn reach_cluster(&self) -> Result<(String, Commands, Server), ConnectError> {
        let hosts: Vec<String> = self.url.hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        let server = format!("the Redis Cluster at {}", hosts.join(", "));
        let client = self.cluster_builder().build().map_err(|error| failed(&server, &error))?;
        let connection = self.within(&server, client.get_async_generic_connection::<Guarded>()).await?;
        let commands = self.commands(Connection::Cluster(connection), false);
        let checked = self.check(&commands, &server).await?;
        let commands = self.commands(commands.into_connection(), checked.is_sharded());
        Ok((server, commands, checked))
    }

    async fn connect_cluster(&self) -> Result<Link, ConnectError> {
        let (server, commands, checked) = self.reach_cluster().await?;
        let is_sharded = checked.is_sharded();
        let (sender, pushes) = pushes(&self.counters);
        let builder = self.cluster_builder().push_sender(sender);
        let client = builder.build().map_err(|error| failed(&server, &error))?;
        let mut subscriber = self.within(&server, client.get_async_generic_connection::<Guarded>()).await?;
        for channel in [keys::BUS, &self.channel] {
            let subscribing = async {
                if is_sharded {
                    subscriber.ssubscribe(channel).await
                } else {
                    subscriber.subscribe(channel).await
                }
            };
            let subscribed = timeout(self.connect_timeout, subscribing).await;
            let subscribed = subscribed.map_err(|_| ConnectError::Silent(server.clone()))?;
            subscribed.map_err(|error| failed(&server, &error))?;
        }
        let subscriber = Connection::Cluster(subscriber);
        Ok(Link { commands, pushes, _subscriber: subscriber, run_id: String::new(), server, master: None })
    }

    /// The address of the master, by the first sentinel that knows it.
    pub(super) async fn find_master(&self, name: &str) -> Result<(String, u16), ConnectError> {
        let mut reason = "there are no sentinels".to_owned();
        for host in &self.url.hosts {
            let sentinel = format!("the sentinel at {}:{}", host.0, host.1);
            match self.ask_sentinel(host, &sentinel, name).await {
                Ok(Some(master)) => return Ok(master),
                Ok(None) => reason = format!("{sentinel} does not know it"),
                Err(error) => reason = error.to_string(),
            }
        }
        Err(ConnectError::NoMaster(name.to_owned(), reason))
    }

    /// Whether the sentinels now name another master than `current`; `false` if none answers.
    pub(super) async fn has_moved(&self, current: Option<&(String, u16)>) -> bool {
        let RedisLayout::Sentinel { master } = &self.url.layout else { return false };
        self.find_master(master).await.is_ok_and(|found| Some(&found) != current)
    }

    async fn ask_sentinel(
        &self,
        host: &(String, u16),
        sentinel: &str,
        name: &str,
    ) -> Result<Option<(String, u16)>, ConnectError> {
        let mut settings = base_settings();
        if let Some(password) = &self.sentinel_password {
            settings = settings.set_password(String::from_utf8_lossy(password.expose()));
        }
        let mut connection = self.within(sentinel, self.open(host, &settings, self.plain_config())).await?;
        let command = redis::cmd("SENTINEL").arg("get-master-addr-by-name").arg(name).take();
        let answer = self.within(sentinel, connection.req_packed_command(&command)).await?;
        Option::<(String, u16)>::from_redis_value(answer).map_err(|error| failed(sentinel, &error.into()))
    }

    /// Version and role of what was connected to.
    async fn check(&self, commands: &Commands, server: &str) -> Result<Server, ConnectError> {
        let mut text = String::new();
        for section in ["server", "replication"] {
            let info = redis::cmd("INFO").arg(section).take();
            let answer = commands.run_anywhere(info).await.map_err(|error| failed(server, &error))?;
            text.push_str(&String::from_redis_value(answer).map_err(|error| failed(server, &error.into()))?);
        }
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let version = field("redis_version").map(|text| words::shown(text.trim()));
        let Some(shown) = version.filter(|text| !text.is_empty()) else {
            return Err(ConnectError::Nameless(server.to_owned()));
        };
        let mut parts = shown.split('.').map(|part| part.parse().unwrap_or(0));
        let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        if version < VERSION_MIN {
            return Err(ConnectError::Old(server.to_owned(), shown));
        }
        let is_cluster = self.url.layout == RedisLayout::Cluster;
        if !is_cluster && field("role").map(str::trim) == Some("slave") {
            return Err(ConnectError::Replica(server.to_owned()));
        }
        Ok(Server { version, shown, run_id: field("run_id").unwrap_or_default().trim().to_owned() })
    }

    fn commands(&self, connection: Connection, is_sharded: bool) -> Commands {
        Commands::new(connection, Arc::clone(&self.counters), self.command_timeout, is_sharded)
    }

    fn settings(&self) -> RedisConnectionInfo {
        let mut settings = base_settings().set_db(i64::from(self.url.database));
        if let Some(user) = &self.url.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &self.password {
            settings = settings.set_password(String::from_utf8_lossy(password.expose()));
        }
        settings
    }

    async fn open(
        &self,
        (host, port): &(String, u16),
        settings: &RedisConnectionInfo,
        config: AsyncConnectionConfig,
    ) -> Result<Guarded, RedisError> {
        let tls = self.certificates.as_ref().map(Certificates::config).transpose()?;
        Guarded::connect((host, *port), tls, settings, config).await
    }

    fn address(&self, host: &str, port: u16) -> ConnectionAddr {
        if self.url.is_encrypted {
            ConnectionAddr::TcpTls { host: host.to_owned(), port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host.to_owned(), port)
        }
    }

    fn cluster_builder(&self) -> ClusterClientBuilder {
        let nodes = self.url.hosts.iter().filter_map(|(host, port)| {
            let info: ConnectionInfo = self.address(host, *port).into_connection_info().ok()?;
            Some(info.set_redis_settings(self.settings()))
        });
        let mut builder = ClusterClientBuilder::new(nodes)
            .use_protocol(ProtocolVersion::RESP3)
            .connection_timeout(self.connect_timeout)
            .response_timeout(self.command_timeout)
            .overall_response_timeout(Some(self.command_timeout))
            .retries(2)
            .min_retry_wait(50)
            .max_retry_wait(500);
        if let Some(user) = &self.url.user {
            builder = builder.username(user);
        }
        if let Some(password) = &self.password {
            builder = builder.password(String::from_utf8_lossy(password.expose()));
        }
        if self.url.is_encrypted {
            builder = builder.tls(TlsMode::Secure);
        }
        match self.certificates.as_ref().and_then(Certificates::of_library) {
            Some(certificates) => builder.certs(certificates),
            None => builder,
        }
    }

    fn plain_config(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(self.command_timeout))
    }

    /// Connects or asks for no longer than a connection may take.
    async fn within<T>(
        &self,
        server: &str,
        work: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, ConnectError> {
        Counters::add(&self.counters.connections);
        match timeout(self.connect_timeout, work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) if error.is_timeout() => Err(ConnectError::Silent(server.to_owned())),
            Ok(Err(error)) => Err(failed(server, &error)),
            Err(_) => Err(ConnectError::Silent(server.to_owned())),
        }
    }
}

struct Server {
    version: (u32, u32),
    /// As the server writes it.
    shown: String,
    run_id: String,
}

impl Server {
    fn is_sharded(&self) -> bool {
        self.version >= VERSION_SHARDED
    }
}

fn base_settings() -> RedisConnectionInfo {
    // RESP3 brings messages on any connection; the library's name would need one more permission.
    RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name()
}

/// What the server or the library says, without what it was told.
pub(super) fn failed(server: &str, error: &RedisError) -> ConnectError {
    ConnectError::Failed(server.to_owned(), words::shown(&error.to_string()))
}

/// A routing to whichever node of a Cluster is at hand.
pub(super) fn anywhere() -> RoutingInfo {
    RoutingInfo::SingleNode(SingleNodeRoutingInfo::RandomPrimary)
}

/// What a command answered, if it is of the wanted kind.
pub(super) fn value<T: redis::FromRedisValue>(answer: Value) -> Result<T, RedisError> {
    T::from_redis_value(answer).map_err(RedisError::from)
}
