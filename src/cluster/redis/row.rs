//! Rows as Redis keeps them: version and expiry in clear, so that Lua can compare them, and all the rest sealed.

use super::{keys, seal::place, shared::Shared};
use crate::cluster::{Row, Table, Version};

/// A row for Redis.
pub(super) struct Sealed {
    pub(super) version: String,
    pub(super) expires: String,
    pub(super) value: Vec<u8>,
}

/// The version so that texts are ordered as versions are.
fn show_version(version: &Version) -> String {
    format!("{:020}.{}", version.millis, version.node)
}

pub(super) fn epoch_place() -> Vec<u8> {
    place(&[b"epoch"])
}

fn row_place(table: Table, id: &str, version: &str, expires: &str) -> Vec<u8> {
    let table = keys::table(table);
    place(&[b"row", table.as_bytes(), id.as_bytes(), version.as_bytes(), expires.as_bytes()])
}

pub(super) fn seal(shared: &Shared, row: &Row) -> Option<Sealed> {
    let version = show_version(&row.version);
    let expires = row.expires.unwrap_or(0).to_string();
    // A byte tells a removed row from one with an empty value.
    let mut plain = zeroize::Zeroizing::new(vec![u8::from(row.value.is_some())]);
    plain.extend_from_slice(row.value.as_deref().unwrap_or_default().as_bytes());
    let value = shared.sealer.seal(&row_place(row.table, &row.id, &version, &expires), &plain)?;
    Some(Sealed { version, expires, value })
}

/// The row, and whether it was sealed with the key that seals now.
pub(super) fn open(shared: &Shared, table: Table, id: &str, raw: &[u8]) -> Option<(Row, bool)> {
    let mut parts = raw.splitn(3, |&byte| byte == b'|');
    let version = std::str::from_utf8(parts.next()?).ok()?;
    let expires = std::str::from_utf8(parts.next()?).ok()?;
    let sealed = parts.next()?;
    let plain = shared.sealer.open(&row_place(table, id, version, expires), sealed).ok()?;
    let (millis, node) = version.split_once('.')?;
    let (&is_there, text) = plain.split_first()?;
    let value = if is_there == 1 { Some(std::str::from_utf8(text).ok()?.to_owned()) } else { None };
    let row = Row {
        table,
        id: id.to_owned(),
        version: Version { millis: millis.parse().ok()?, node: node.to_owned() },
        value,
        expires: expires.parse().ok().filter(|&expires| expires != 0),
    };
    Some((row, shared.sealer.is_fresh(sealed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_texts_too() {
        let version = |millis, node: &str| Version { millis, node: node.to_owned() };
        let mut versions =
            [version(2, "a"), version(10, "a"), version(2, "b"), version(2, "ab"), version(10, "A")];
        versions.sort();
        assert!(versions.map(|version| show_version(&version)).is_sorted());
    }
}
