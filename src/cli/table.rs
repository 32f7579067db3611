//! Answers of the API for people: tables, and figures with their units.

use std::fmt::Write as _;

use serde_json::Value;

pub(super) use super::utc::span as duration;

/// Lines of columns as wide as they have to be; each cell is one line.
pub(super) fn columns(headings: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut lines = vec![headings.iter().map(|heading| (*heading).to_owned()).collect::<Vec<_>>()];
    lines.extend(rows);
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let mut row = String::new();
        for (cell, &width) in line.iter().zip(&widths) {
            // Writing to a string does not fail.
            let _written = write!(row, "{cell:width$}  ");
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

/// A text of an answer, which may come from a stranger, on one line and without what a terminal would obey; `-` for
/// none.
pub(super) fn word(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    if text.is_empty() {
        return "-".to_owned();
    }
    let mut shown = String::new();
    for character in text.chars() {
        if character.is_control() {
            shown.extend(character.escape_debug());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Bytes with a decimal unit: `12 B`, `1.5 MB`.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut amount = count as f64 / 1000.0;
    let mut units = UNITS.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    for larger in units {
        if amount < 999.95 {
            break;
        }
        amount /= 1000.0;
        unit = larger;
    }
    format!("{amount:.1} {unit}")
}

/// Names and values as the query of a URL.
pub(super) fn query(parts: &[(&str, String)]) -> String {
    let parts: Vec<String> = parts.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    parts.join("&")
}

/// What is neither a letter nor a digit, nor one of `-._~`, as `%XX` (RFC 3986 §2.3).
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _written = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_their_units() {
        let sizes = [0, 999, 1000, 1_500_000, 999_960, u64::MAX].map(bytes);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "1.5 MB", "1.0 MB", "18446.7 PB"]);
    }

    #[test]
    fn what_goes_into_a_url_is_encoded() {
        assert_eq!(encoded("a-b._~/ä%?&=#"), "a-b._~%2F%C3%A4%25%3F%26%3D%23");
        assert_eq!(query(&[("user", "a b".to_owned()), ("limit", "5".to_owned())]), "user=a%20b&limit=5");
    }
}
