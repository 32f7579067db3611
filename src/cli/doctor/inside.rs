//! The node of this machine, as its operator sees it.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt as _};
use zeroize::Zeroizing;

use super::{
    addresses, certificate,
    finding::{Check, Finding, Level},
    http::Http,
    plan::Plan,
    policy,
    reach::{self, Client},
    redis,
    relay::Credential,
    server, signaling,
    system::{self, Kernel, Process},
    target::Target,
};
use crate::{
    api::{Within, ice_servers::remoteness},
    cli::{known::Known, now_unix},
    config::{self, Config, ConfigError, Loaded, Sources, StaticUserSecret},
    credentials::Directory,
    runtime::interface_addresses,
    turn::Transport,
};

/// The node of this machine.
pub(super) struct Inside {
    loaded: Loaded,
    /// Where it is the server itself that looks.
    within: Option<Within>,
    interfaces: Vec<IpAddr>,
}

impl Inside {
    /// # Errors
    /// The configuration is wrong.
    pub(super) fn of(sources: &Sources) -> Result<Box<Self>, ConfigError> {
        let loaded = config::load(sources)?;
        Ok(Box::new(Self { loaded, within: None, interfaces: interface_addresses().unwrap_or_default() }))
    }

    /// The server itself, with what it runs with.
    pub(super) fn of_server(loaded: Loaded, within: Within) -> Self {
        Self { loaded, within: Some(within), interfaces: interface_addresses().unwrap_or_default() }
    }

    /// For the first line.
    pub(super) fn about(&self) -> String {
        let id = self.config().node.id_or_machine_name();
        let file = self.loaded.file.as_ref().map(|file| format!(" · {}", file.display()));
        format!("node {id}{}", file.unwrap_or_default())
    }

    /// Everything that can be looked at, with its name.
    pub(super) fn work<'a>(&'a self, plan: &'a Plan) -> Vec<(&'static str, BoxFuture<'a, Vec<Finding>>)> {
        let config = self.config();
        let authorities = plan.authorities();
        vec![
            ("the configuration", async { self.configuration(plan) }.boxed()),
            ("the server", self.server(plan).boxed()),
            ("addresses", addresses::check(config, &self.interfaces, plan.stun(), authorities).boxed()),
            ("Redis", redis::check(config).boxed()),
            ("signaling", signaling::configured(config).boxed()),
        ]
    }

    const fn config(&self) -> &Config {
        &self.loaded.config
    }

    fn configuration(&self, plan: &Plan) -> Vec<Finding> {
        let mut findings = Vec::new();
        for warning in self.loaded.warnings.iter().filter(|warning| !has_check_of_its_own(&warning.key)) {
            findings.push(Check::Configuration.warning(warning.to_string()));
        }
        if findings.is_empty() {
            findings.push(Check::Configuration.ok("can be used"));
        }
        findings.extend(policy::check(&self.loaded, self.is_public()));
        findings.extend(certificate::configured(self.config(), plan.authorities()));
        findings
    }

    /// Whether clients come from the internet.
    fn is_public(&self) -> bool {
        let config = self.config();
        if config.relay.is_found() {
            return true;
        }
        let external = config.relay.configured().map(|it| it.public);
        let listening = config.listen.udp.iter().chain(&config.listen.tcp).map(SocketAddr::ip);
        let bound =
            listening.flat_map(|ip| if ip.is_unspecified() { self.interfaces.clone() } else { vec![ip] });
        external.chain(bound).any(|ip| remoteness(ip) == 0)
    }

    async fn server(&self, plan: &Plan) -> Vec<Finding> {
        let mut findings = Vec::new();
        let http = self.http(plan);
        let mut process = Process::default();
        match &http {
            Some(Ok(http)) => {
                let (running, reply) = server::running(http, true).await;
                findings.push(running);
                if reply.is_some() {
                    process = server::process(http).await;
                    if self.config().signal.enabled {
                        findings.push(signaling::websocket(http, None).await);
                    }
                    if let (Some(origin), true) = (plan.origin(), self.config().signal.enabled) {
                        findings.push(signaling::websocket(http, Some(origin)).await);
                    }
                }
            }
            Some(Err(error)) => findings.push(Check::Running.skipped(error.to_string())),
            None => findings.push(Check::Running.skipped("http.listen and http.control_socket are off")),
        }
        let kernel = Kernel { root: Path::new("/proc") };
        findings.extend(system::check(self.config(), &kernel, process));
        let http = http.and_then(Result::ok);
        let credentials = self.credentials(plan, http.as_ref(), &mut findings).await;
        let client = Client { credentials, authorities: plan.authorities().cloned(), is_inside: true };
        let reached = reach::reach(&self.targets(), &client).await;
        let is_down = findings.iter().any(|it| it.check == Check::Running && it.level == Level::Failure);
        if is_down && reached.iter().all(|it| it.level == Level::Failure) {
            // One fault, told once.
            return findings;
        }
        findings.extend(reached);
        findings
    }

    /// This process, the control socket if there is one, else the HTTP listener.
    fn http(&self, plan: &Plan) -> Option<anyhow::Result<Http>> {
        if let Some(within) = &self.within {
            return Some(Ok(Http::within(within.clone())));
        }
        let http = &self.config().http;
        if let Some(socket) = http.control_socket.0.as_ref().filter(|path| path.exists()) {
            return Some(Ok(Http::socket(socket.clone())));
        }
        let listen = http.listen?;
        let ip = match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            IpAddr::V4(_) | IpAddr::V6(_) => listen.ip(),
        };
        // In clear text, which the machine itself may always speak.
        Some(plan.http(&format!("http://{}", SocketAddr::new(ip, listen.port()))))
    }

    /// What to relay with: what was given; made from the configuration, as backends do; asked of the server.
    async fn credentials(
        &self,
        plan: &Plan,
        http: Option<&Http>,
        findings: &mut Vec<Finding>,
    ) -> Option<[Credential; 2]> {
        let check = Check::Credential;
        if let Some(given) = plan.given() {
            return Some(given);
        }
        if let Some(made) = self.config().directory().ok().and_then(|it| minted(&it)) {
            findings.push(check.ok("made with the configured secret"));
            return Some(made);
        }
        if let Some(user) = self.user() {
            findings.push(check.ok(format!("that of the static user {:?}", user.username)));
            return Some([user.clone(), user]);
        }
        if let Some(http) = http.filter(|http| http.has_access()) {
            match server::issue(http).await {
                Ok(issued) => {
                    findings.push(check.ok("the server gives one"));
                    return Some(issued.credentials);
                }
                Err(finding) => findings.push(finding),
            }
            return None;
        }
        let config = self.config().clone();
        // It waits for Redis, and reads files.
        let known = tokio::task::spawn_blocking(move || Known::of(&config)).await;
        if let Some(made) = known.ok().and_then(Result::ok).and_then(|known| minted(&known.directory)) {
            findings.push(check.ok("made with a stored secret"));
            return Some(made);
        }
        let mend = "run it as the server's user or root (control socket), or give --key-file FILE";
        findings.push(check.skipped("no secret and no user is configured, so nothing is relayed").mend(mend));
        None
    }

    fn user(&self) -> Option<Credential> {
        self.config().auth.users.iter().find_map(|user| match &user.secret {
            StaticUserSecret::Password(password) => {
                let password = Zeroizing::new(String::from_utf8_lossy(password.expose()).into_owned());
                Some(Credential { username: user.name.clone(), password })
            }
            StaticUserSecret::Md5(_) => None,
        })
    }

    /// The nearest address of each family that is listened on, by each transport.
    fn targets(&self) -> Vec<Target> {
        let listen = &self.config().listen;
        let lists =
            [(Transport::Udp, &listen.udp), (Transport::Tcp, &listen.tcp), (Transport::Tls, &listen.tls)];
        let mut targets = Vec::new();
        for (transport, addresses) in lists {
            for is_ipv4 in [true, false] {
                let bound = addresses.iter().flat_map(|address| self.expand(*address));
                let bound = bound.filter(|address| address.is_ipv4() == is_ipv4 && address.port() != 0);
                let nearest = bound.min_by_key(|address| remoteness(address.ip()));
                targets.extend(nearest.map(|address| Target::of(transport, address)));
            }
        }
        targets
    }

    fn expand(&self, address: SocketAddr) -> Vec<SocketAddr> {
        if !address.ip().is_unspecified() {
            return vec![address];
        }
        let same = self.interfaces.iter().filter(|ip| ip.is_ipv4() == address.is_ipv4());
        let usable = same.filter(|ip| !matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local()));
        usable.map(|ip| SocketAddr::new(*ip, address.port())).collect()
    }
}

fn minted(directory: &Directory) -> Option<[Credential; 2]> {
    let mint = |user| {
        let made = directory.mint(user, Duration::from_secs(server::CREDENTIAL_SECONDS), now_unix())?;
        Some(Credential {
            username: made.username,
            password: Zeroizing::new(made.password.as_str().to_owned()),
        })
    };
    Some([mint(server::USERS[0])?, mint(server::USERS[1])?])
}

/// Whether a warning of the configuration is told in a line of its own.
fn has_check_of_its_own(key: &str) -> bool {
    key == "auth.secret" || key == "peers.allow" || key.ends_with("_file")
}
