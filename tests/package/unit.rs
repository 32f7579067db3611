//! The unit under a real systemd.

use std::time::{Duration, Instant};

use crate::{
    built::{NEW, packages},
    held::Held,
    machine::Machine,
};

fn installed() -> Machine {
    let machine = Machine::boot(&packages().directory);
    machine.done(&format!("dpkg --install /mnt/{NEW}"));
    machine
}

fn drop_in(machine: &Machine, text: &str) {
    machine.done(&format!(
        "mkdir -p /etc/systemd/system/iceway.service.d
        printf '[Service]\\n{}\\n' >/etc/systemd/system/iceway.service.d/test.conf && systemctl daemon-reload",
        text.replace('\n', "\\n")
    ));
}

fn configure(machine: &Machine, text: &str) {
    machine.done(&format!("printf '{}' >/etc/iceway/iceway.toml", text.replace('\n', "\\n")));
}

#[test]
fn the_unit_is_correct_hardened_and_runs_as_nobody_else() {
    let machine = installed();
    let verified = machine.run("systemd-analyze verify --man=yes iceway.service");
    assert_eq!((verified.code, verified.text.as_str()), (Some(0), ""));
    let unit = "/lib/systemd/system/iceway.service";
    let scored = machine.run(&format!("systemd-analyze security --offline=true --threshold=16 {unit}"));
    assert_eq!(scored.code, Some(0), "{}", scored.text);

    let process = machine.property("MainPID");
    let status = machine.done(&format!("cat /proc/{process}/status"));
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    let user: u32 = field("Uid:").split_whitespace().next().unwrap().parse().unwrap();
    assert!((61_184..=65_519).contains(&user), "a user of its own: {user}");
    for capabilities in ["CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(capabilities), "0000000000000000", "{capabilities}");
    }
    assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), ("1".to_owned(), "2".to_owned()));
    assert_eq!(machine.property("LimitNOFILE"), "1048576");
    assert_eq!(machine.done("stat --format %a /run/iceway /var/lib/private/iceway"), "700\n700");
    assert_eq!(machine.property("StatusText"), "Serving: 0 allocations, 0 signaling sockets.");
    let journal = machine.journal();
    assert!(!journal.contains("\"WARN\"") && !journal.contains("\"ERROR\""), "{journal}");
}

#[test]
fn it_is_reloaded_refused_restarted_and_watched() {
    let machine = installed();
    let process = machine.property("MainPID");
    configure(&machine, "[log]\nlevel = \"debug\"\n");
    machine.done("systemctl reload iceway");
    machine.until("journalctl --no-pager --unit iceway", |answer| answer.text.contains("Reloaded."));
    assert_eq!(machine.property("ActiveState"), "active");

    configure(&machine, "[log]\nlevel = 5\n");
    assert_ne!(machine.run("systemctl reload iceway").code, Some(0));
    machine.until("journalctl --no-pager --unit iceway", |answer| {
        answer.text.contains("nothing was changed") && answer.text.contains("log.level = 5")
    });
    assert_eq!(
        (machine.property("ActiveState"), machine.property("MainPID")),
        ("active".to_owned(), process)
    );
    assert!(machine.property("StatusText").starts_with("Not reloaded"), "{}", machine.property("StatusText"));

    assert_ne!(machine.run("systemctl restart iceway").code, Some(0));
    // It would be started again within a second.
    machine.until("systemctl show iceway -p ActiveState --value", |answer| answer.text.trim() == "failed");
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(
        (machine.property("ExecMainStatus"), machine.property("NRestarts")),
        ("78".to_owned(), "0".to_owned())
    );

    configure(&machine, "");
    machine.done("systemctl start iceway && systemctl kill --signal KILL iceway");
    machine.until("systemctl show iceway -p NRestarts --value", |answer| answer.text.trim() == "1");
    machine.until("systemctl is-active iceway", |answer| answer.code == Some(0));

    drop_in(&machine, "WatchdogSec=2s");
    machine.done("systemctl restart iceway");
    // Fed for longer than it waits.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(
        (machine.property("ActiveState"), machine.property("NRestarts")),
        ("active".to_owned(), "0".to_owned())
    );
    Held::thread(machine.process_outside(), "relay-0").killed(Duration::from_secs(20));
    machine.until("systemctl show iceway -p NRestarts --value", |answer| answer.text.trim() == "1");
    machine.until("systemctl is-active iceway", |answer| answer.code == Some(0));
    let journal = machine.journal();
    assert!(journal.contains("Watchdog timeout"), "{journal}");
    assert!(journal.contains("\"threads\":\"shard 0\""), "{journal}");
}

#[test]
fn it_stops_when_calls_have_ended_and_may_take_longer_than_it_said() {
    let machine = installed();
    configure(&machine, "[peers]\nallow = [\"127.0.0.0/8\"]\n[runtime]\ndrain_timeout = \"1h\"\n");
    drop_in(&machine, "TimeoutStopSec=2s\nWatchdogSec=2s\nEnvironment=ICEWAY_AUTH_USERS_FILE=/etc/users");
    machine.done("echo alice:wonderland >/etc/users && chmod 644 /etc/users && systemctl restart iceway");
    // It leaves its allocations behind, which last for ten minutes.
    machine.done("turnutils_uclient -c -s -y -m 1 -n 1 -u alice -w wonderland 127.0.0.1");
    let started = Instant::now();
    machine.done("systemctl stop --no-block iceway");
    machine.until("systemctl status iceway", |answer| answer.text.contains("Status: \"Stopping: "));
    // Twice what the unit allows.
    while started.elapsed() < Duration::from_secs(4) {
        assert_eq!(machine.property("ActiveState"), "deactivating");
        std::thread::sleep(Duration::from_millis(200));
    }
    let ask = "curl --silent --fail --unix-socket /run/iceway/control.sock http://localhost/v1/allocations";
    let ids = "grep -o '\"id\":\"[^\"]*' | cut -d '\"' -f 4";
    machine.done(&format!("{ask} | {ids} | while read -r id; do {ask}/$id --request DELETE; done"));
    machine.until("systemctl is-active iceway", |answer| answer.text.trim() == "inactive");
    assert_eq!(
        (machine.property("Result"), machine.property("ExecMainStatus")),
        ("success".to_owned(), "0".to_owned())
    );
}

#[test]
fn a_low_port_takes_the_drop_in_and_a_certificate_a_file() {
    let machine = installed();
    configure(&machine, "[listen]\nudp = [\"127.0.0.1:443\"]\ntcp = [\"127.0.0.1:443\"]\n");
    assert_ne!(machine.run("systemctl restart iceway").code, Some(0));
    let drop_ins = "/etc/systemd/system/iceway.service.d";
    machine.done(&format!(
        "systemctl stop iceway; install -D -m 644 /usr/share/doc/iceway/examples/privileged-ports.conf -t {drop_ins}
        systemctl daemon-reload && systemctl reset-failed iceway && systemctl restart iceway"
    ));
    let process = machine.property("MainPID");
    let effective = machine.done(&format!("grep CapEff /proc/{process}/status"));
    assert!(effective.ends_with("0000000000000400"), "no other capability: {effective}");
    machine.done("turnutils_stunclient -p 443 127.0.0.1");
    let scored = machine.run(&format!(
        "mkdir /tmp/both && cat /lib/systemd/system/iceway.service {drop_ins}/*.conf >/tmp/both/iceway.service
        systemd-analyze security --offline=true --threshold=16 /tmp/both/iceway.service"
    ));
    assert_eq!(scored.code, Some(0), "{}", scored.text);

    // Files called like their keys, readable for root alone.
    machine.done(
        "cd /etc/iceway/credentials && umask 077
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=turn.example.org \
            -keyout tls.private_key -out tls.certificate 2>/dev/null && systemctl restart iceway",
    );
    let answer =
        "openssl s_client -connect 127.0.0.1:5349 </dev/null 2>/dev/null | openssl x509 -noout -subject";
    assert!(machine.done(answer).contains("turn.example.org"));
}
