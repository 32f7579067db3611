//! The Debian package from its installation to its removal.

use std::collections::BTreeSet;

use crate::{
    built::{NEW, OLD, OLD_VERSION, packages, succeeds},
    machine::Machine,
};

/// Files that say that packages were installed, whichever.
const OF_THE_SYSTEM: [&str; 6] = [
    "/var/lib/dpkg/",
    "/var/cache/",
    "/var/log/",
    "/var/lib/systemd/",
    // Which units were ever enabled.
    "/var/lib/private",
    "/etc/systemd/system/multi-user.target.wants",
];

fn files(machine: &Machine) -> BTreeSet<String> {
    let found = machine.done("find /etc /usr /var /opt /srv /run/iceway -xdev 2>/dev/null || true");
    let of_the_system = |path: &&str| OF_THE_SYSTEM.iter().any(|known| format!("{path}/").starts_with(known));
    found.lines().filter(|path| !of_the_system(path)).map(str::to_owned).collect()
}

/// A credential of the secret that the package made, used by coturn's client.
fn relays(machine: &Machine, port: u16) {
    machine.done(&format!(
        "set -e
        credential=$(iceway credentials mint --json --user alice --host 127.0.0.1 \
            --auth-secret-file /etc/iceway/credentials/auth.secret_file)
        user=$(python3 -c 'import json, sys; print(json.load(sys.stdin)[\"username\"])' <<<\"$credential\")
        password=$(python3 -c 'import json, sys; print(json.load(sys.stdin)[\"password\"])' <<<\"$credential\")
        said=$(turnutils_uclient -c -s -n 5 -m 1 -y -p {port} -u \"$user\" -w \"$password\" 127.0.0.1 2>&1) || true
        echo \"$said\"; grep -q 'tot_send_msgs=10, tot_recv_msgs=10' <<<\"$said\""
    ));
}

#[test]
fn it_is_installed_runs_is_upgraded_and_leaves_nothing() {
    let packages = packages();
    let machine = Machine::boot(&packages.directory);
    let before = files(&machine);

    machine.done(&format!("dpkg --install /mnt/{OLD}"));
    assert_eq!(machine.property("ActiveState"), "active");
    assert_eq!(machine.done("systemctl is-enabled iceway"), "enabled");
    assert_eq!(machine.done("stat --format %U:%a /etc/iceway/credentials"), "root:700");
    assert_eq!(machine.done("stat --format %U:%a /etc/iceway/credentials/auth.secret_file"), "root:600");
    for page in ["iceway", "iceway-serve", "iceway-credentials-mint"] {
        assert_eq!(machine.done(&format!("man -w {page}")), format!("/usr/share/man/man1/{page}.1.gz"));
    }
    let completions = "source /usr/share/bash-completion/completions/iceway && complete -p iceway";
    assert!(machine.done(completions).contains("_iceway"));

    // A site changes its configuration: another port, and peers of its own.
    let changed = "[listen]\nudp = [\"127.0.0.1:3555\"]\n[peers]\nallow = [\"127.0.0.0/8\"]\n[runtime]\ndrain_timeout = \"1s\"\n";
    machine.done(&format!("printf '{}' >/etc/iceway/iceway.toml", changed.replace('\n', "\\n")));
    machine.done("systemctl restart iceway");
    relays(&machine, 3555);

    let (secret, process) =
        (machine.done("cat /etc/iceway/credentials/auth.secret_file"), machine.property("MainPID"));
    machine.done(&format!("dpkg --force-confdef --force-confold --install /mnt/{NEW}"));
    let version = machine.done("dpkg-query --show --showformat '${Version}' iceway");
    assert!(version != OLD_VERSION && version.starts_with(env!("CARGO_PKG_VERSION")), "{version}");
    assert_eq!(machine.done("cat /etc/iceway/iceway.toml"), changed.trim(), "what the site wrote is kept");
    assert!(
        machine.done("cat /etc/iceway/iceway.toml.dpkg-dist").starts_with("# Every key with its default.")
    );
    assert_eq!(machine.done("cat /etc/iceway/credentials/auth.secret_file"), secret);
    assert_eq!(machine.property("ActiveState"), "active");
    assert_ne!(machine.property("MainPID"), process, "the new version runs");
    relays(&machine, 3555);

    machine.done("dpkg --remove iceway");
    assert_eq!(machine.run("pgrep --exact iceway").code, Some(1), "it has ended");
    machine.done("test -e /etc/iceway/iceway.toml && test ! -e /usr/bin/iceway && test -d /var/lib/iceway/");
    machine.done("dpkg --purge iceway");
    assert_eq!(&files(&machine) - &before, BTreeSet::new(), "nothing is left");
    machine.done("test ! -e /var/lib/private/iceway");
    assert_eq!(machine.run("systemctl cat iceway").code, Some(1));
}

#[test]
fn its_description_names_what_it_needs() {
    let package = packages().directory.join(NEW);
    let field = |name: &str| {
        succeeds(std::process::Command::new("dpkg-deb").arg("--field").arg(&package).arg(name))
            .trim()
            .to_owned()
    };
    assert!(field("Depends").starts_with("libc6 (>= "), "{}", field("Depends"));
    assert_eq!((field("Package"), field("Architecture")), ("iceway".to_owned(), "amd64".to_owned()));
    let contents = succeeds(std::process::Command::new("dpkg-deb").arg("--contents").arg(&package));
    for file in [
        "./usr/lib/systemd/system/iceway.service",
        "./usr/lib/sysctl.d/50-iceway.conf",
        "./etc/iceway/iceway.toml",
        "./usr/share/doc/iceway/copyright",
        "./usr/share/iceway/prometheus/iceway.rules.yml",
        "./usr/share/iceway/grafana/iceway.json",
        "./usr/share/zsh/vendor-completions/_iceway",
        "./usr/share/fish/vendor_completions.d/iceway.fish",
    ] {
        let line = contents.lines().find(|line| line.ends_with(&format!(" {file}")));
        let line = line.unwrap_or_else(|| panic!("{file} in\n{contents}"));
        assert!(line.starts_with("-rw-r--r-- 0/0 "), "{line}");
    }
}
