//! Three network namespaces, client – server – peer, joined by veth pairs that behave like network cards.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr},
    process::{self, Command},
    thread,
    time::{Duration, Instant},
};

use crate::{
    processor::kernel_threads,
    sys::{self, Namespace},
};

/// The processor of the server and of the receive path of its devices.
pub(crate) const SERVER_PROCESSOR: usize = 0;
/// The processor of the load generator and of the receive path of the outer devices.
pub(crate) const LOAD_PROCESSOR: usize = 1;
/// Where servers listen.
pub(crate) const LISTEN: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 1);
/// Where servers relay.
pub(crate) const RELAY: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 1);
/// Where the peer is.
pub(crate) const PEER: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 2);

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 2);
/// Interrupt moderation of the devices: what a network card typically waits to gather packets.
const MODERATION: Duration = Duration::from_micros(100);
const NAPI_WAIT: Duration = Duration::from_secs(5);

/// How bursts cross from the load generator to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// Cut into single packets before the wire, with full checksums, as from a network.
    SinglePackets,
    /// As trains that stay whole, as from a guest of the same host or a card that merges on receipt.
    Trains,
}

/// Which devices wait a while before they wake their receive thread; the others wake it for whatever is sent as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moderation {
    /// For single packets, which would cost a wake-up each, and for trains. The kernel holds what its GRO might merge
    /// for up to a tick then, so single packets must not be mergeable (see `client::hide_from_gro`).
    Everywhere,
    /// For bursts that the server's GRO is to merge, which wake it once each; on the way back it keeps the wake-ups
    /// of the load generator out of the server's time.
    LoadOnly,
    /// For latency.
    Nowhere,
}

/// The namespaces and devices. They vanish with this process.
pub(crate) struct Topology {
    pub(crate) client: Namespace,
    pub(crate) server: Namespace,
    pub(crate) peer: Namespace,
    names: Names,
    receive_threads: Vec<i32>,
}

impl Topology {
    /// Builds everything.
    pub(crate) fn new() -> io::Result<Self> {
        let mut topology = Self {
            client: Namespace::new()?,
            server: Namespace::new()?,
            peer: Namespace::new()?,
            names: Names::new(process::id()),
            receive_threads: Vec::new(),
        };
        topology.join_namespaces()?;
        topology.address()?;
        for (namespace, device) in topology.devices() {
            namespace.run(|| make_device_like_a_card(device))?;
        }
        topology.set_wire(Wire::SinglePackets)?;
        topology.set_moderation(Moderation::Everywhere)?;
        topology.place_receive_threads()?;
        Ok(topology)
    }

    /// The kernel threads that carry packets from the server's devices to its sockets.
    pub(crate) fn receive_threads(&self) -> &[i32] {
        &self.receive_threads
    }

    /// The client address number `index`; there are 60 000.
    pub(crate) fn client_address(index: usize) -> IpAddr {
        let (high, low) = (index / 250 % 240, index % 250);
        IpAddr::V4(Ipv4Addr::new(10, 78, high as u8, low as u8 + 1))
    }

    /// Chooses what happens to bursts the load generator sends as one object.
    pub(crate) fn set_wire(&self, wire: Wire) -> io::Result<()> {
        for (namespace, device) in [(&self.client, &self.names.client), (&self.peer, &self.names.peer)] {
            namespace.run(|| match wire {
                Wire::SinglePackets => run(&["ethtool", "-K", device, "tx", "off"]),
                Wire::Trains => run(&["ethtool", "-K", device, "tx", "on", "tx-udp-segmentation", "on"]),
            })?;
        }
        Ok(())
    }

    /// Chooses which devices gather packets before they wake their receive thread, as cards do under load.
    pub(crate) fn set_moderation(&self, moderation: Moderation) -> io::Result<()> {
        for (namespace, device) in self.devices() {
            let of_server = device == self.names.server_to_client || device == self.names.server_to_peer;
            let gathers = match moderation {
                Moderation::Everywhere => true,
                Moderation::LoadOnly => !of_server,
                Moderation::Nowhere => false,
            };
            let (polls, wait) = if gathers { (2, MODERATION) } else { (0, Duration::ZERO) };
            namespace.run(|| {
                let folder = format!("/sys/class/net/{device}");
                fs::write(format!("{folder}/napi_defer_hard_irqs"), polls.to_string())?;
                fs::write(format!("{folder}/gro_flush_timeout"), wait.as_nanos().to_string())
            })?;
        }
        Ok(())
    }

    fn devices(&self) -> [(&Namespace, &str); 4] {
        let names = &self.names;
        [
            (&self.client, &names.client),
            (&self.server, &names.server_to_client),
            (&self.server, &names.server_to_peer),
            (&self.peer, &names.peer),
        ]
        .map(|(namespace, name)| (namespace, name.as_str()))
    }

    /// Makes each pair inside the server's namespace and hands the far end over.
    fn join_namespaces(&self) -> io::Result<()> {
        let far_ends = [
            (&self.client, &self.names.client, &self.names.server_to_client),
            (&self.peer, &self.names.peer, &self.names.server_to_peer),
        ];
        for (namespace, far, near) in far_ends {
            let far_side = namespace.path();
            self.server.run(|| {
                run(&["ip", "link", "add", near, "type", "veth", "peer", "name", far])?;
                run(&["ip", "link", "set", far, "netns", &far_side])
            })?;
        }
        Ok(())
    }

    /// Gives every device its addresses and its neighbour, so that no measurement begins with a look-up.
    fn address(&self) -> io::Result<()> {
        let names = &self.names;
        self.client.run(|| bring_up(&names.client, CLIENT))?;
        self.server.run(|| bring_up(&names.server_to_client, LISTEN))?;
        self.server.run(|| bring_up(&names.server_to_peer, RELAY))?;
        self.peer.run(|| bring_up(&names.peer, PEER))?;
        let hardware = |namespace: &Namespace, device: &str| {
            namespace
                .run(|| Ok(fs::read_to_string(format!("/sys/class/net/{device}/address"))?.trim().to_owned()))
        };
        let client = hardware(&self.client, &names.client)?;
        let to_client = hardware(&self.server, &names.server_to_client)?;
        let to_peer = hardware(&self.server, &names.server_to_peer)?;
        let peer = hardware(&self.peer, &names.peer)?;
        self.client.run(|| {
            add_neighbour(&names.client, LISTEN, &to_client)?;
            run(&["ip", "route", "add", "default", "via", &LISTEN.to_string()])?;
            // Every address of 10.78/16 is the client's: as many clients as there are sockets.
            run(&["ip", "route", "add", "local", "10.78.0.0/16", "dev", "lo"])
        })?;
        self.server.run(|| {
            add_neighbour(&names.server_to_client, CLIENT, &client)?;
            add_neighbour(&names.server_to_peer, PEER, &peer)?;
            run(&["ip", "route", "add", "10.78.0.0/16", "via", &CLIENT.to_string()])
        })?;
        self.peer.run(|| add_neighbour(&names.peer, RELAY, &to_peer))
    }

    /// The server's receive path runs on the server's processor before anything else there, as interrupts would.
    fn place_receive_threads(&mut self) -> io::Result<()> {
        let names = &self.names;
        let placement = [
            (&names.client, LOAD_PROCESSOR),
            (&names.peer, LOAD_PROCESSOR),
            (&names.server_to_client, SERVER_PROCESSOR),
            (&names.server_to_peer, SERVER_PROCESSOR),
        ];
        for (device, processor) in placement {
            let thread = receive_thread(device)?;
            sys::pin(thread, processor)?;
            sys::make_real_time(thread)?;
            if processor == SERVER_PROCESSOR {
                self.receive_threads.push(thread);
            }
        }
        Ok(())
    }
}

/// Device names, different for every process: kernel threads are found by them.
struct Names {
    client: String,
    server_to_client: String,
    server_to_peer: String,
    peer: String,
}

impl Names {
    fn new(process: u32) -> Self {
        // A kernel thread's name has room for ten characters of the device's.
        let tag = format!("{:05x}", process & 0xf_ffff);
        let name = |suffix: &str| format!("b{tag}{suffix}");
        Self { client: name("c"), server_to_client: name("sc"), server_to_peer: name("sp"), peer: name("p") }
    }
}

fn bring_up(device: &str, address: Ipv4Addr) -> io::Result<()> {
    run(&["ip", "link", "set", "lo", "up"])?;
    run(&["ip", "addr", "add", &format!("{address}/24"), "dev", device])?;
    run(&["ip", "link", "set", device, "up"])
}

fn add_neighbour(device: &str, address: Ipv4Addr, hardware: &str) -> io::Result<()> {
    run(&[
        "ip",
        "neigh",
        "replace",
        &address.to_string(),
        "lladdr",
        hardware,
        "dev",
        device,
        "nud",
        "permanent",
    ])
}

/// A veth hands packets to its peer's NAPI only if that one has GRO on and the sender has TCP segmentation off;
/// otherwise the receive path runs, and is charged, on the sender's processor.
fn make_device_like_a_card(device: &str) -> io::Result<()> {
    run(&["ethtool", "-K", device, "gro", "on", "tso", "off"])?;
    fs::write(format!("/sys/class/net/{device}/threaded"), "1")
}

fn receive_thread(device: &str) -> io::Result<i32> {
    let started = Instant::now();
    loop {
        match kernel_threads(&format!("napi/{device}-"))?.as_slice() {
            [thread] => return Ok(*thread),
            [] if started.elapsed() < NAPI_WAIT => thread::sleep(Duration::from_millis(10)),
            found => {
                let message = format!(
                    "{} kernel threads napi/{device}-… instead of one: \
                     run this on the host itself, on a kernel with threaded NAPI (5.12 or later)",
                    found.len()
                );
                return Err(io::Error::other(message));
            }
        }
    }
}

fn run(words: &[&str]) -> io::Result<()> {
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| io::Error::other(format!("{program}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(format!("`{}` failed: {complaint}", words.join(" "))))
}
