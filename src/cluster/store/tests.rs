//! The file, with trouble.

use std::{fs, os::unix::fs::PermissionsExt as _};

use super::{disk::Disk, file::Source, *};
use crate::cluster::{Table, UsageOf, Version, clock::unix_seconds};

const BOUNDS: Bounds = Bounds { records_max: 1000, days: 35 };

/// A directory of its own that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("iceway-store-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("s.redb")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn row(id: &str, millis: u64, value: Option<&str>) -> Row {
    Row {
        table: Table::ApiKeys,
        id: id.to_owned(),
        version: Version { millis, node: "a".to_owned() },
        value: value.map(str::to_owned),
        expires: None,
    }
}

fn record(id: u64, user: &str, ended: u64) -> UsageRecord {
    UsageRecord {
        id: id.to_string(),
        node: "a".to_owned(),
        user: user.to_owned(),
        label: Some("call".to_owned()),
        key_id: None,
        transport: "udp".to_owned(),
        started: ended.saturating_sub(10),
        ended,
        seconds: 10,
        sent_bytes: 100,
        received_bytes: 50,
        sent_datagrams: 2,
        received_datagrams: 1,
        reason: "expired".to_owned(),
    }
}

fn everybody(day: u32) -> UsageQuery {
    UsageQuery { of: UsageOf::Everybody, from_day: day, to_day: day }
}

fn refusal(path: &Path) -> String {
    Store::open(Some(path), BOUNDS).map(|_| ()).unwrap_err().to_string()
}

#[tokio::test]
async fn what_was_acknowledged_is_there_when_it_is_opened_again() {
    let scratch = Scratch::new("again");
    let day = u32::try_from(unix_seconds() / 86_400).unwrap();
    let (store, before) = Store::open(Some(&scratch.file()), BOUNDS).unwrap();
    store.write_rows(vec![row("k", 2, Some("new")), row("gone", 1, None)]).await.unwrap();
    store.write_rows(vec![row("k", 1, Some("old"))]).await.unwrap();
    store.used(vec![("k".to_owned(), 77)]);
    store.record_usage(record(1, "bob", unix_seconds()));
    drop(store);

    let (store, after) = Store::open(Some(&scratch.file()), BOUNDS).unwrap();
    assert_eq!(after.node_key, before.node_key);
    assert_eq!(after.rows.len(), 2);
    assert!(after.rows.contains(&row("k", 2, Some("new"))));
    assert_eq!(after.last_used, [("k".to_owned(), 77)]);
    let page = store.usage_records(0, 10).await.unwrap();
    assert_eq!((page.records.len(), page.has_more), (1, false));
    assert_eq!(store.usage_totals(everybody(day)).await.unwrap().sent_bytes, 100);
}

#[tokio::test]
async fn only_its_owner_can_read_the_file() {
    let scratch = Scratch::new("mode");
    let mode = || fs::metadata(scratch.file()).unwrap().permissions().mode() & 0o777;
    drop(Store::open(Some(&scratch.file()), BOUNDS).unwrap());
    assert_eq!(mode(), 0o600);
    fs::set_permissions(scratch.file(), fs::Permissions::from_mode(0o644)).unwrap();
    drop(Store::open(Some(&scratch.file()), BOUNDS).unwrap());
    assert_eq!(mode(), 0o600);
}

#[test]
fn a_file_that_is_open_is_refused_with_what_to_do() {
    let scratch = Scratch::new("lock");
    let (held, _) = Store::open(Some(&scratch.file()), BOUNDS).unwrap();
    let error = Store::open(Some(&scratch.file()), BOUNDS).map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::StoreInUse { .. }));
    assert!(error.to_string().contains("another process has it open"), "{error}");
    drop(held);
    assert!(Store::open(Some(&scratch.file()), BOUNDS).is_ok());
}

#[test]
fn files_that_are_none_of_ours_are_left_alone() {
    let scratch = Scratch::new("foreign");
    let path = scratch.file();
    fs::write(&path, "static-auth-secret=north\n").unwrap();
    assert!(refusal(&path).contains("another kind of file"), "{}", refusal(&path));
    assert_eq!(fs::read(&path).unwrap(), b"static-auth-secret=north\n");
    fs::write(&path, "r").unwrap();
    assert!(refusal(&path).contains("another kind of file"));

    fs::remove_file(&path).unwrap();
    let other = redb::Database::create(&path).unwrap();
    let write = other.begin_write().unwrap();
    write.open_table(redb::TableDefinition::<u8, u8>::new("theirs")).unwrap();
    write.commit().unwrap();
    drop(other);
    assert!(refusal(&path).contains("another program's"), "{}", refusal(&path));
}

#[test]
fn a_file_of_a_later_version_is_refused() {
    let scratch = Scratch::new("later");
    let path = scratch.file();
    let later = redb::Database::create(&path).unwrap();
    let write = later.begin_write().unwrap();
    let meta = redb::TableDefinition::<&str, &[u8]>::new("meta");
    write.open_table(meta).unwrap().insert("format", 2u64.to_le_bytes().as_slice()).unwrap();
    write.commit().unwrap();
    drop(later);
    assert!(refusal(&path).contains("written by a later iceway (format 2)"), "{}", refusal(&path));
}

#[test]
fn places_where_no_file_can_be_are_named_with_what_to_do() {
    let scratch = Scratch::new("places");
    assert!(refusal(&scratch.0.join("none/s.redb")).contains("there is no directory"));
    assert!(refusal(&scratch.0).contains("cannot be used"), "{}", refusal(&scratch.0));
    assert!(refusal(Path::new("/dev/null")).contains("is not a file"), "{}", refusal(Path::new("/dev/null")));
}

/// Each a file of its own: any byte may have been changed, any end may be missing.
#[tokio::test]
async fn a_damaged_file_is_told_from_a_good_one_and_never_a_panic() {
    let scratch = Scratch::new("damage");
    let path = scratch.file();
    let (store, _) = Store::open(Some(&path), BOUNDS).unwrap();
    for n in 0..40 {
        store.write_rows(vec![row(&format!("k{n}"), 1, Some(&"v".repeat(500)))]).await.unwrap();
    }
    drop(store);
    let good = fs::read(&path).unwrap();
    let mut refused = 0;
    for n in 0..48usize {
        let mut bad = good.clone();
        let place = (n * 7919 * 13) % bad.len();
        match n % 3 {
            0 => bad[place..].iter_mut().take(64).for_each(|byte| *byte ^= 0x55),
            1 => bad[n / 3] ^= 0xff,
            _ => bad.truncate(place),
        }
        fs::write(&path, &bad).unwrap();
        match Store::open(Some(&path), BOUNDS) {
            Ok((_, contents)) => {
                // Where nothing was kept, or where a crash may have left anything.
                assert!(contents.rows.iter().all(|row| row.value == Some("v".repeat(500))), "{n}");
            }
            Err(error) => {
                refused += 1;
                let error = error.to_string();
                assert!(!error.contains('\n') && error.contains("; "), "{n}: {error}");
            }
        }
    }
    assert!(refused >= 16, "{refused}");
}

#[tokio::test]
async fn a_full_disk_is_told_and_nothing_is_lost_when_there_is_room_again() {
    let disk = Disk::default();
    let (store, _) = Store::on(Source::Test(disk.clone()), BOUNDS).unwrap();
    store.write_rows(vec![row("before", 1, Some("x"))]).await.unwrap();

    disk.fill(true);
    let error = store.write_rows(vec![row("during", 1, Some("x"))]).await.unwrap_err();
    assert!(error.to_string().contains("free space"), "{error}");
    store.record_usage(record(1, "bob", 100));
    assert!(store.flush().await.is_err());
    assert!(store.counters().errors.load(Ordering::Relaxed) >= 2);

    disk.fill(false);
    store.write_rows(vec![row("after", 1, Some("x"))]).await.unwrap();
    assert_eq!(store.usage_records(0, 10).await.unwrap().records.len(), 1, "it waited");
    drop(store);
    let (_, contents) = Store::on(Source::Test(disk), BOUNDS).unwrap();
    let mut ids: Vec<String> = contents.rows.into_iter().map(|row| row.id).collect();
    ids.sort();
    assert_eq!(ids, ["after", "before"]);
}

#[tokio::test]
async fn records_are_paged_and_taken_once() {
    let (store, _) = Store::open(None, BOUNDS).unwrap();
    for n in 0..25 {
        store.record_usage(record(n, "bob", 1000));
    }
    let first = store.usage_records(0, 10).await.unwrap();
    assert_eq!((first.records.len(), first.has_more), (10, true));
    let place = |cursor: &str| u64::from_str_radix(cursor, 16).unwrap();
    let last = place(&first.records[9].0);
    let second = store.usage_records(last, 100).await.unwrap();
    let ids: Vec<&str> = second.records.iter().map(|(_, record)| record.id.as_str()).collect();
    assert_eq!((ids[0], ids[14], second.has_more), ("10", "24", false));

    assert_eq!(store.acknowledge_usage(last).await, Ok(10));
    assert_eq!(store.acknowledge_usage(last).await, Ok(0));
    assert_eq!(store.counters().usage_pending.load(Ordering::Relaxed), 15);
    assert_eq!(store.usage_records(0, 100).await.unwrap().records.len(), 15);
    store.acknowledge_usage(u64::MAX).await.unwrap();
    store.record_usage(record(25, "bob", 1000));
    let later = store.usage_records(0, 1).await.unwrap();
    assert!(place(&later.records[0].0) > place(&second.records[14].0), "places are never used again");
}

#[tokio::test]
async fn of_too_many_records_the_oldest_are_dropped_and_counted() {
    let (store, _) = Store::open(None, Bounds { records_max: 100, days: 35 }).unwrap();
    for n in 0..250 {
        store.record_usage(record(n, "bob", 1000));
    }
    store.flush().await.unwrap();
    assert_eq!(store.usage_records(0, 1).await.unwrap().records[0].1.id, "150");
    assert_eq!(store.counters().usage_pending.load(Ordering::Relaxed), 100);
    assert_eq!(store.counters().usage_lost.load(Ordering::Relaxed), 150);
}

#[tokio::test]
async fn totals_are_by_day_user_and_label_and_old_days_go() {
    let (store, _) = Store::open(None, Bounds { records_max: 10, days: 2 }).unwrap();
    let now = unix_seconds();
    let today = u32::try_from(now / 86_400).unwrap();
    for (user, ended) in
        [("bob", now), ("bob", now), ("eve", now), ("bob", now - 86_400), ("bob", now - 2 * 86_400)]
    {
        store.record_usage(record(1, user, ended));
    }
    let of = |of: UsageOf, from_day: u32| store.usage_totals(UsageQuery { of, from_day, to_day: u32::MAX });

    assert_eq!(of(UsageOf::User("bob".into()), today).await.unwrap().allocations, 2);
    assert_eq!(
        of(UsageOf::User("bob".into()), 0).await.unwrap().allocations,
        3,
        "the day before yesterday is gone"
    );
    assert_eq!(of(UsageOf::Label("call".into()), today).await.unwrap().seconds, 30);
    assert_eq!(of(UsageOf::Everybody, 0).await.unwrap().received_bytes, 200);
    assert_eq!(of(UsageOf::User("nobody".into()), 0).await.unwrap(), UsageTotals::default());
}
