//! The kernel and the limits of the process.

use std::{fs, path::Path};

use super::finding::{Check, Finding};
use crate::{config::Config, runtime::descriptors};

/// What the check knows of the server that runs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Process {
    /// How many descriptors it may open.
    pub(super) descriptors: Option<u64>,
    /// Whether it may set buffers above the system's limit; `None`: as this process.
    pub(super) may_force: Option<bool>,
}

/// Where the kernel says how it is.
pub(super) struct Kernel<'a> {
    pub(super) root: &'a Path,
}

const BACKLOG_MIN: u64 = 1024;
const CONNTRACK_FULL_PERCENT: u64 = 80;
const CAP_NET_ADMIN: u32 = 12;

pub(super) fn check(config: &Config, kernel: &Kernel<'_>, process: Process) -> Vec<Finding> {
    let mut findings =
        vec![buffers(config, kernel, process), descriptors(config, process), ports(config, kernel)];
    findings.extend(conntrack(kernel));
    findings.extend(backlog(config, kernel));
    findings
}

impl Kernel<'_> {
    fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok()
    }

    fn number(&self, path: &str) -> Option<u64> {
        self.text(path)?.trim().parse().ok()
    }

    /// Whether this process has a capability.
    fn has_capability(&self, number: u32) -> bool {
        let status = self.text("self/status").unwrap_or_default();
        let field = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        field
            .and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
            .is_some_and(|set| set >> number & 1 == 1)
    }
}

fn buffers(config: &Config, kernel: &Kernel<'_>, process: Process) -> Finding {
    let check = Check::Buffers;
    let wanted = config.runtime.socket_buffer_bytes.max(config.runtime.relay_socket_buffer_bytes) as u64;
    let limits = ["rmem_max", "wmem_max"].map(|name| (name, kernel.number(&format!("sys/net/core/{name}"))));
    let small: Vec<String> = limits
        .iter()
        .filter_map(|(name, limit)| {
            limit.filter(|limit| *limit < wanted).map(|limit| format!("net.core.{name} {}", size(limit)))
        })
        .collect();
    if small.is_empty() {
        return check.ok(format!("the kernel grants {}", size(wanted)));
    }
    if process.may_force.unwrap_or_else(|| kernel.has_capability(CAP_NET_ADMIN)) {
        return check.ok(format!("{}, set above the kernel's limit, as root may", size(wanted)));
    }
    let fact = format!("{} is wanted, the kernel grants {}", size(wanted), small.join(", "));
    check.warning(fact).mend(format!(
        "bursts are lost: sysctl -w net.core.rmem_max={wanted} net.core.wmem_max={wanted}, and a file in /etc/sysctl.d"
    ))
}

fn descriptors(config: &Config, process: Process) -> Finding {
    let check = Check::Descriptors;
    let Some(limit) = process.descriptors else {
        return check.skipped("no server tells how many it may open");
    };
    let (total, needed) = descriptors::needed(config);
    if limit >= needed {
        return check.ok(format!("{limit} may be open, enough for {total} allocations"));
    }
    check.warning(format!("{limit} may be open, too few for {total} allocations")).mend(descriptors::MEND)
}

fn ports(config: &Config, kernel: &Kernel<'_>) -> Finding {
    let check = Check::Ports;
    let (low, high) = (config.relay.port_min, config.relay.port_max);
    let own = format!("relay ports {low}–{high}");
    let Some((first, last)) = kernel.text("sys/net/ipv4/ip_local_port_range").and_then(|text| range(&text))
    else {
        return check.skipped("the system does not tell its port range");
    };
    let reserved = kernel.text("sys/net/ipv4/ip_local_reserved_ports").unwrap_or_default();
    if low > last || high < first || covers(&reserved, low.max(first), high.min(last)) {
        return check.ok(format!("{own} are not handed out to others"));
    }
    // The server takes the next one when one is taken.
    check
        .hint(format!("{own} overlap those of outgoing connections, {first}–{last}"))
        .mend(format!("on a busy machine: sysctl -w net.ipv4.ip_local_reserved_ports={low}-{high}"))
}

fn conntrack(kernel: &Kernel<'_>) -> Option<Finding> {
    let check = Check::Conntrack;
    let max = kernel.number("sys/net/netfilter/nf_conntrack_max").filter(|max| *max > 0)?;
    let count = kernel.number("sys/net/netfilter/nf_conntrack_count")?;
    if count * 100 >= max * CONNTRACK_FULL_PERCENT {
        let fact = format!("the table of connections is nearly full: {count} of {max}");
        return Some(check.failure(fact).mend(
            "packets of new calls are dropped: exempt the relay ports (nft: notrack), or raise \
             net.netfilter.nf_conntrack_max",
        ));
    }
    Some(check.ok(format!("{count} of {max} tracked connections")))
}

fn backlog(config: &Config, kernel: &Kernel<'_>) -> Option<Finding> {
    if config.listen.tcp.is_empty() && config.listen.tls.is_empty() {
        return None;
    }
    let most = kernel.number("sys/net/core/somaxconn")?;
    if most >= BACKLOG_MIN {
        return Some(Check::Backlog.ok(format!("{most} connections may wait")));
    }
    let fact = format!("only {most} connections may wait to be taken");
    Some(Check::Backlog.warning(fact).mend("sysctl -w net.core.somaxconn=4096, and a file in /etc/sysctl.d"))
}

fn range(text: &str) -> Option<(u16, u16)> {
    let mut numbers = text.split_ascii_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Whether a list such as `8080,9148-9200` has all of a range.
fn covers(list: &str, first: u16, last: u16) -> bool {
    list.trim().split(',').any(|part| {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        matches!((low.parse::<u16>(), high.parse::<u16>()), (Ok(low), Ok(high)) if low <= first && high >= last)
    })
}

fn size(bytes: u64) -> String {
    match bytes {
        0..=10_239 => format!("{bytes} B"),
        10_240..=10_485_759 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Level;

    /// A directory as `/proc` is.
    struct Proc(std::path::PathBuf);

    impl Proc {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("iceway-doctor-{}-{name}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Self(root)
        }

        fn levels(&self, config: &Config, process: Process) -> Vec<(&'static str, Level)> {
            let kernel = Kernel { root: &self.0 };
            check(config, &kernel, process).into_iter().map(|it| (it.check.id(), it.level)).collect()
        }
    }

    impl Drop for Proc {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    const GOOD: [(&str, &str); 7] = [
        ("sys/net/core/rmem_max", "8388608\n"),
        ("sys/net/core/wmem_max", "8388608\n"),
        ("sys/net/core/somaxconn", "4096\n"),
        ("sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
        ("sys/net/ipv4/ip_local_reserved_ports", "8080,49152-65535\n"),
        ("sys/net/netfilter/nf_conntrack_max", "262144\n"),
        ("sys/net/netfilter/nf_conntrack_count", "12\n"),
    ];

    #[test]
    fn a_prepared_machine_has_nothing_to_mend() {
        let good = Proc::new("good", &GOOD);
        let process = Process { descriptors: Some(1 << 20), may_force: Some(false) };
        let levels = good.levels(&Config::default(), process);
        assert!(levels.iter().all(|(_, level)| *level == Level::Ok), "{levels:?}");
        assert_eq!(levels.len(), 5);
    }

    #[test]
    fn each_limit_is_found_alone() {
        let cases: [(&str, &str, &str, Level); 5] = [
            ("sys/net/core/rmem_max", "212992", "system.buffers", Level::Warning),
            ("sys/net/core/somaxconn", "128", "system.backlog", Level::Warning),
            ("sys/net/ipv4/ip_local_reserved_ports", "", "system.ports", Level::Hint),
            ("sys/net/netfilter/nf_conntrack_count", "262100", "system.conntrack", Level::Failure),
            ("self/status", "CapEff:\t0000000000000000\n", "", Level::Ok),
        ];
        for (path, text, id, level) in cases {
            let bad = Proc::new("one", &[&GOOD[..], &[(path, text)]].concat());
            let process = Process { descriptors: Some(1 << 20), may_force: None };
            let found = bad.levels(&Config::default(), process);
            let wrong: Vec<_> = found.into_iter().filter(|(_, level)| *level != Level::Ok).collect();
            let expected = if id.is_empty() { Vec::new() } else { vec![(id, level)] };
            assert_eq!(wrong, expected, "{path}");
        }
        let good = Proc::new("descriptors", &GOOD);
        let found =
            good.levels(&Config::default(), Process { descriptors: Some(64), may_force: Some(false) });
        assert!(found.contains(&("system.descriptors", Level::Warning)));
    }
}
