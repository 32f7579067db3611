//! A Redis Cluster of three masters without replicas.

use std::time::Duration;

use super::{Options, Redis, ports, wait_for};

const SLOTS: u16 = 16_384;

/// Three masters that share all slots; killed when dropped.
pub(crate) struct RedisCluster {
    /// The masters.
    pub(crate) masters: Vec<Redis>,
}

impl RedisCluster {
    /// Starts them; every slot is served when this returns.
    pub(crate) fn start() -> Self {
        Self::start_with(&Options::default())
    }

    /// The same with more configuration for each.
    pub(crate) fn start_with(options: &Options) -> Self {
        let mut options = options.clone();
        options.lines.push("cluster-enabled yes".to_owned());
        options.lines.push("cluster-node-timeout 2000".to_owned());
        if options.tls {
            options.authority.get_or_insert_with(|| std::sync::Arc::new(super::Authority::new()));
            options.lines.push("tls-cluster yes".to_owned());
        }
        let masters: Vec<Redis> =
            (0..3).map(|_| Redis::start_on(options.clone(), ports::free_port_with_bus)).collect();
        for (number, master) in (0_u16..).zip(&masters) {
            let first = (SLOTS / 3 + 1) * number;
            let last = ((SLOTS / 3 + 1) * (number + 1) - 1).min(SLOTS - 1);
            // Redis 6.2 takes no ranges.
            let slots: Vec<String> = (first..=last).map(|slot| slot.to_string()).collect();
            let words: Vec<&str> =
                ["CLUSTER", "ADDSLOTS"].into_iter().chain(slots.iter().map(String::as_str)).collect();
            master.command(&words);
            master.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]);
        }
        for other in &masters[1..] {
            let port = if options.tls { other.tls_port() } else { other.port() };
            masters[0].command(&["CLUSTER", "MEET", "127.0.0.1", &port.to_string()]);
        }
        for master in &masters {
            wait_for("the cluster serves every slot", Duration::from_secs(30), || {
                let info = master.text(&["CLUSTER", "INFO"]);
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
            });
        }
        Self { masters }
    }

    /// `rediss+cluster://…`; only with [`Options::tls`].
    pub(crate) fn tls_url(&self) -> String {
        let hosts: Vec<String> =
            self.masters.iter().map(|master| format!("127.0.0.1:{}", master.tls_port())).collect();
        format!("rediss+cluster://{}", hosts.join(","))
    }

    /// `redis+cluster://…`.
    pub(crate) fn url(&self) -> String {
        let hosts: Vec<String> =
            self.masters.iter().map(|master| format!("127.0.0.1:{}", master.port())).collect();
        format!("redis+cluster://{}", hosts.join(","))
    }

    /// All keys of all masters, sorted.
    pub(crate) fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.masters.iter().flat_map(Redis::keys).collect();
        keys.sort();
        keys
    }
}
