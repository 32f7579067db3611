//! What every endpoint works with.

use std::{
    fmt,
    hash::{BuildHasher as _, RandomState},
    ops::Deref,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use axum::extract::FromRef;
use tokio::sync::mpsc;

use super::{
    caller::{Access, AccessError},
    doctor::DoctorDesk,
    drain::Drain,
    ice_servers::{Reached, node_place, node_uris},
    reload::ReloadOrder,
    signal::Signal,
    webhooks,
};
use crate::{
    cluster::Cluster,
    config::{Config, External},
    runtime::NodeHandle,
};

/// What every endpoint works with. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Service(Arc<ServiceState>);

/// What the clones of a [`Service`] share.
pub struct ServiceState {
    /// The relay of this node.
    pub node: NodeHandle,
    /// What is shared with other nodes and outlives a restart.
    pub cluster: Cluster,
    /// What is configured; replaced as a whole by [`Service::reload`].
    pub settings: ArcSwap<Settings>,
    /// Decides who calls.
    pub access: Arc<Access>,
    pub(super) webhooks: Arc<webhooks::Handle>,
    /// The signaling relay.
    pub(super) signal: Arc<Signal>,
    issued: [AtomicU64; Dialect::ALL.len()],
    drawn: AtomicU64,
    reached: Reached,
    /// Whom to ask to read the configuration again, once somebody does.
    pub(super) reloads: OnceLock<mpsc::Sender<ReloadOrder>>,
    pub(super) doctor: DoctorDesk,
    /// Whether clients are sent elsewhere.
    pub(super) drain: Drain,
}

/// What the endpoints take from the configuration.
#[derive(Debug)]
pub struct Settings {
    /// All of it.
    pub config: Config,
    /// The URIs clients reach this node by.
    pub uris: Vec<String>,
}

/// The forms in which credentials are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `POST /v1/turn/credentials`.
    Native,
    /// `GET /v1/ice-servers`.
    EndUser,
    /// `/turn` of draft-uberti-behave-turn-rest.
    Uberti,
    /// `generate` and `generate-ice-servers` of Cloudflare.
    Cloudflare,
    /// On `GET /v1/signal`.
    Signaling,
}

impl Dialect {
    /// Every form.
    pub const ALL: [Self; 5] = [Self::Native, Self::EndUser, Self::Uberti, Self::Cloudflare, Self::Signaling];

    /// Its name: `native`, `end_user`, `uberti`, `cloudflare`, `signaling`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::EndUser => "end_user",
            Self::Uberti => "uberti",
            Self::Cloudflare => "cloudflare",
            Self::Signaling => "signaling",
        }
    }
}

impl Service {
    /// A service in front of this relay, which is reached there.
    ///
    /// # Errors
    /// Callers cannot be told as configured.
    pub fn new(
        node: NodeHandle,
        cluster: Cluster,
        config: &Config,
        reached: &Reached,
    ) -> Result<Self, AccessError> {
        let access = Access::new(config, cluster.clone())?;
        let webhooks = webhooks::Handle::new(&config.webhooks);
        let signal = Arc::new(Signal::new(config, &cluster)?);
        let settings = ArcSwap::from_pointee(Settings::new(config, &node.public().external, reached));
        let (issued, reached) = (Default::default(), reached.clone());
        let drawn = AtomicU64::new(RandomState::new().hash_one(0));
        Ok(Self(Arc::new(ServiceState {
            node,
            cluster,
            settings,
            access,
            webhooks,
            signal,
            issued,
            drawn,
            reached,
            reloads: OnceLock::new(),
            doctor: DoctorDesk::default(),
            drain: Drain::default(),
        })))
    }

    /// Says what [`reload`](Self::reload) could not take over, and changes nothing.
    #[must_use]
    pub fn check(&self, config: &Config) -> Vec<AccessError> {
        [self.access.check(config), self.signal.check(config)].into_iter().filter_map(Result::err).collect()
    }

    /// Takes over what can change while the node runs. Where callers cannot be told by what is new, they are told as
    /// before, and the log says why.
    pub fn reload(&self, config: &Config) {
        if let Err(error) = self.access.reload(config) {
            tracing::error!(%error, "Not reloaded: callers of the API are told as before.");
        }
        self.webhooks.reload(&config.webhooks);
        if let Err(error) = self.signal.reload(config) {
            tracing::error!(%error, "Not reloaded: the backend is asked as before.");
        }
        self.settings.store(Arc::new(Settings::new(config, &self.node.public().external, &self.reached)));
    }

    /// Tells clients and other nodes where this node is reached, once that is known to be somewhere else.
    pub fn readdress(&self) {
        let public = self.node.public();
        let settings =
            self.settings.rcu(|settings| Settings::new(&settings.config, &public.external, &self.reached));
        self.cluster.set_place(node_place(&settings.config, &public, &self.reached));
    }
}

impl ServiceState {
    /// How many credentials were made in each form.
    pub fn issued(&self) -> impl Iterator<Item = (Dialect, u64)> {
        let counts = self.issued.iter().map(|count| count.load(Ordering::Relaxed));
        Dialect::ALL.into_iter().zip(counts)
    }

    /// Where clients reach this node.
    pub(super) const fn reached(&self) -> &Reached {
        &self.reached
    }

    pub(super) fn count_issued(&self, dialect: Dialect) {
        if let Some(count) = self.issued.get(dialect as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A number that spreads evenly and does not come again; not secret (SplitMix64).
    pub(super) fn random(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut number = self.drawn.fetch_add(STEP, Ordering::Relaxed);
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }
}

impl Deref for Service {
    type Target = ServiceState;

    fn deref(&self) -> &ServiceState {
        &self.0
    }
}

impl FromRef<Service> for Arc<Access> {
    fn from_ref(service: &Service) -> Self {
        Self::clone(&service.access)
    }
}

impl fmt::Debug for ServiceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceState").field("cluster", &self.cluster.id()).finish_non_exhaustive()
    }
}

impl Settings {
    fn new(config: &Config, external: &[External], reached: &Reached) -> Self {
        Self { config: config.clone(), uris: node_uris(config, external, reached) }
    }
}

/// Seconds since the Unix epoch.
pub(super) fn unix_seconds() -> u64 {
    unix_millis() / 1000
}

/// Milliseconds since the Unix epoch.
pub(super) fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
