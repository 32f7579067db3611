//! All rows of a node in memory. Pure: the time is an argument.

use std::collections::HashMap;

use super::{Row, Table, Version};

/// Live secrets, those of the configuration included: each may cost an HMAC per Allocate.
pub const SECRETS_MAX: usize = crate::credentials::SECRETS_MAX;
/// Live API keys.
pub const API_KEYS_MAX: usize = 1000;
/// Revocations that are not over.
pub const REVOCATIONS_MAX: usize = 100_000;
/// Revocations of sessions that are not over.
pub const SESSION_REVOCATIONS_MAX: usize = 100_000;
/// How long a removed row is remembered, so that a node that was away does not bring it back.
pub const TOMBSTONE_SECONDS: u64 = 30 * 86_400;
/// The longest id of a row, in bytes.
pub const ROW_ID_BYTES_MAX: usize = 128;
/// The longest value of a row, in bytes.
pub const ROW_VALUE_BYTES_MAX: usize = 16 << 10;

/// A version from beyond the year 9999 is no clock's; it could never be replaced.
const VERSION_MILLIS_MAX: u64 = 253_402_300_800_000;

impl Table {
    /// Every table.
    pub const ALL: [Self; 4] = [Self::Secrets, Self::ApiKeys, Self::Revocations, Self::SessionRevocations];

    /// The most rows, removed ones included. Those written last stay.
    #[must_use]
    pub const fn rows_max(self) -> usize {
        match self {
            Self::Secrets => 16 * SECRETS_MAX,
            Self::ApiKeys => 4 * API_KEYS_MAX,
            Self::Revocations => REVOCATIONS_MAX,
            Self::SessionRevocations => SESSION_REVOCATIONS_MAX,
        }
    }

    /// Its place in [`ALL`](Self::ALL).
    pub(super) const fn index(self) -> usize {
        match self {
            Self::Secrets => 0,
            Self::ApiKeys => 1,
            Self::Revocations => 2,
            Self::SessionRevocations => 3,
        }
    }
}

impl Row {
    /// The row written by `node` at `millis` in place of `replaced`. A clock that was set back since then does not
    /// make the new one the older.
    #[must_use]
    pub fn replacing(
        replaced: Option<&Self>,
        table: Table,
        id: impl Into<String>,
        value: Option<String>,
        millis: u64,
        node: &str,
    ) -> Self {
        let earlier = replaced.map_or(0, |row| row.version.millis.saturating_add(1));
        let version = Version { millis: millis.max(earlier), node: node.to_owned() };
        Self { table, id: id.into(), version, value, expires: None }
    }

    /// The same row, over after `expires` (seconds since the Unix epoch).
    #[must_use]
    pub fn until(mut self, expires: u64) -> Self {
        self.expires = Some(expires);
        self
    }

    /// Whether nobody needs it any more at `now` (seconds since the Unix epoch).
    #[must_use]
    pub fn is_over(&self, now: u64) -> bool {
        let forgotten = (self.version.millis / 1000).saturating_add(TOMBSTONE_SECONDS);
        self.expires.is_some_and(|expires| expires < now) || (self.value.is_none() && forgotten < now)
    }

    /// Whether it is something a node could have written.
    fn is_sound(&self) -> bool {
        (1..=ROW_ID_BYTES_MAX).contains(&self.id.len())
            && self.version.millis <= VERSION_MILLIS_MAX
            && (1..=64).contains(&self.version.node.len())
            && self.value.as_ref().is_none_or(|value| value.len() <= ROW_VALUE_BYTES_MAX)
    }
}

/// The rows, last writer wins.
///
/// Whatever order and however often rows are [merged](Self::merge) in, the same rows lead to the same tables: for each
/// id the row with the greatest version stays, and of too many ids those with the greatest versions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    rows: [HashMap<String, Row>; 4],
}

impl Tables {
    /// The row of this id, be it a removed one.
    #[must_use]
    pub fn get(&self, table: Table, id: &str) -> Option<&Row> {
        self.of(table).get(id)
    }

    /// The rows of a table that were not removed and are not over, in no order.
    pub fn live(&self, table: Table, now: u64) -> impl Iterator<Item = &Row> {
        self.of(table).values().filter(move |row| row.value.is_some() && !row.is_over(now))
    }

    /// Every row, removed ones included.
    pub fn all(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().flat_map(HashMap::values)
    }

    /// How many rows there are, removed ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.iter().map(HashMap::len).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether [`merge`](Self::merge) would take `row` over.
    #[must_use]
    pub fn is_news(&self, row: &Row, now: u64) -> bool {
        row.is_sound()
            && !row.is_over(now)
            && self.get(row.table, &row.id).is_none_or(|known| is_later(row, known))
    }

    /// Takes over what is newer than what is here, and answers those rows. What is over, or could not have been
    /// written by a node, is left out.
    pub fn merge(&mut self, rows: impl IntoIterator<Item = Row>, now: u64) -> Vec<Row> {
        let mut news = Vec::new();
        for row in rows {
            if self.is_news(&row, now) {
                self.rows[row.table.index()].insert(row.id.clone(), row.clone());
                news.push(row);
            }
        }
        for table in Table::ALL {
            self.bound(table);
        }
        // Only the last version of an id, and only what found a place.
        news.retain(|row| self.get(row.table, &row.id) == Some(row));
        news
    }

    /// Removes what is over, and answers the ids.
    pub fn prune(&mut self, now: u64) -> Vec<(Table, String)> {
        let mut removed = Vec::new();
        for table in Table::ALL {
            self.rows[table.index()].retain(|id, row| {
                let is_over = row.is_over(now);
                if is_over {
                    removed.push((table, id.clone()));
                }
                !is_over
            });
        }
        removed
    }

    fn of(&self, table: Table) -> &HashMap<String, Row> {
        &self.rows[table.index()]
    }

    fn bound(&mut self, table: Table) {
        let rows = &mut self.rows[table.index()];
        let surplus = rows.len().saturating_sub(table.rows_max());
        if surplus == 0 {
            return;
        }
        let mut order: Vec<(Version, String)> =
            rows.values().map(|row| (row.version.clone(), row.id.clone())).collect();
        order.sort_unstable();
        for (_, id) in order.into_iter().take(surplus) {
            rows.remove(&id);
        }
    }
}

/// By version; of two with the same version, which no node writes, one is chosen that all choose.
fn is_later(row: &Row, known: &Row) -> bool {
    (&row.version, &row.value, row.expires) > (&known.version, &known.value, known.expires)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(id: &str, millis: u64, node: &str, value: Option<&str>) -> Row {
        Row {
            table: Table::ApiKeys,
            id: id.to_owned(),
            version: Version { millis, node: node.to_owned() },
            value: value.map(str::to_owned),
            expires: None,
        }
    }

    #[test]
    fn the_later_write_stays_whatever_comes_last() {
        let mut tables = Tables::default();
        tables.merge([row("k", 2000, "a", Some("new")), row("k", 1000, "b", Some("old"))], 2);

        assert_eq!(tables.get(Table::ApiKeys, "k").unwrap().value.as_deref(), Some("new"));
        assert!(tables.merge([row("k", 2000, "a", Some("new"))], 2).is_empty());
        assert_eq!(tables.merge([row("k", 2000, "b", None)], 2).len(), 1, "the greater node wins");
        assert_eq!(tables.live(Table::ApiKeys, 2).count(), 0);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_lose_a_write() {
        let mut tables = Tables::default();
        let first = Row::replacing(None, Table::ApiKeys, "k", Some("1".into()), 5_000_000, "a");
        tables.merge([first], 5000);

        let second = Row::replacing(tables.get(Table::ApiKeys, "k"), Table::ApiKeys, "k", None, 1_000, "a");

        assert_eq!(second.version.millis, 5_000_001);
        assert_eq!(tables.merge([second], 1).len(), 1);
    }

    #[test]
    fn what_is_over_is_pruned_and_does_not_come_back() {
        let mut tables = Tables::default();
        let revocation = Row { table: Table::Revocations, ..row("r", 1000, "a", Some("x")) }.until(100);
        let removed = row("k", 1000, "a", None);
        tables.merge([revocation.clone(), removed.clone()], 50);

        assert_eq!(tables.live(Table::Revocations, 100).count(), 1, "until and including its last second");
        assert_eq!(tables.live(Table::Revocations, 101).count(), 0);
        assert_eq!(tables.prune(101), [(Table::Revocations, "r".to_owned())]);
        assert!(tables.merge([revocation], 101).is_empty());
        assert_eq!(tables.prune(1 + TOMBSTONE_SECONDS).len(), 0);
        assert_eq!(tables.prune(2 + TOMBSTONE_SECONDS).len(), 1);
        assert!(tables.is_empty());
    }

    #[test]
    fn rows_that_no_node_writes_are_left_out() {
        let mut tables = Tables::default();
        let long = "x".repeat(ROW_VALUE_BYTES_MAX + 1);
        let bad = [
            row("", 1, "a", Some("x")),
            row(&"i".repeat(ROW_ID_BYTES_MAX + 1), 1, "a", Some("x")),
            row("k", VERSION_MILLIS_MAX + 1, "a", Some("x")),
            row("k", 1, "", Some("x")),
            row("k", 1, "a", Some(&long)),
        ];
        assert!(tables.merge(bad, 1).is_empty());
        assert!(tables.is_empty());
    }

    #[test]
    fn of_too_many_rows_those_written_last_stay() {
        let secret =
            |n: usize| Row { table: Table::Secrets, ..row(&format!("s{n}"), n as u64 + 1, "a", Some("x")) };
        let most = Table::Secrets.rows_max();
        let mut forwards = Tables::default();
        let mut backwards = Tables::default();
        for n in 0..most + 10 {
            forwards.merge([secret(n)], 1);
            backwards.merge([secret(most + 9 - n)], 1);
        }

        assert_eq!(forwards, backwards);
        assert_eq!(forwards.len(), most);
        assert!(forwards.get(Table::Secrets, "s9").is_none());
        assert!(forwards.merge([secret(3)], 1).is_empty(), "what found no place is no news");
    }

    #[test]
    fn no_value_shows_up_in_debug_output() {
        let text = format!("{:?}", row("k", 1, "a", Some("north")));
        assert!(!text.contains("north"), "{text}");
    }

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let table = prop_oneof![Just(Table::Secrets), Just(Table::ApiKeys), Just(Table::Revocations)];
        // Few ids, versions and nodes, so that they meet; a value belongs to its version, as nodes write them.
        let one = (table, 0u8..4, 900u64..910, 0u8..3, any::<bool>(), prop::option::of(900u64..2000));
        let row = one.prop_map(|(table, id, millis, node, is_removed, expires)| Row {
            table,
            id: id.to_string(),
            version: Version { millis, node: node.to_string() },
            value: (!is_removed).then(|| format!("{millis}")),
            expires,
        });
        prop::collection::vec(row, 0..40)
    }

    proptest! {
        #[test]
        fn rows_lead_to_the_same_tables_in_any_order_and_however_often(
            (rows, shuffled) in rows().prop_flat_map(|rows| {
                let twice: Vec<Row> = rows.iter().chain(&rows).cloned().collect();
                (Just(rows), Just(twice).prop_shuffle())
            }),
            cuts in prop::collection::vec(1usize..7, 0..30),
        ) {
            let mut at_once = Tables::default();
            at_once.merge(rows, 1000);
            let mut piecemeal = Tables::default();
            let mut rest = &shuffled[..];
            for cut in cuts {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                piecemeal.merge(now.to_vec(), 1000);
                rest = later;
            }
            piecemeal.merge(rest.to_vec(), 1000);
            prop_assert_eq!(at_once, piecemeal);
        }

        #[test]
        fn two_nodes_that_exchange_everything_agree(one in rows(), other in rows()) {
            let (mut a, mut b) = (Tables::default(), Tables::default());
            a.merge(one, 1000);
            b.merge(other, 1000);
            let of_a: Vec<Row> = a.all().cloned().collect();
            let news_for_a = a.merge(b.all().cloned().collect::<Vec<_>>(), 1000);
            b.merge(of_a, 1000);
            prop_assert_eq!(&a, &b);
            prop_assert!(news_for_a.iter().all(|row| a.get(row.table, &row.id) == Some(row)));
        }
    }
}
