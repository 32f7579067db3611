//! Durations, sizes and rates as people write them.

use std::time::Duration;

/// Seconds and smaller to larger, for reading; the first that divides a value is used to show it.
const DURATIONS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Sizes in bytes, largest first so that showing finds the largest that divides.
const SIZES: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1000),
    ("B", 1),
];

/// Rates in bytes per second.
const RATES: [(&str, u64); 10] = [
    ("GiB/s", 1 << 30),
    ("GB/s", 1_000_000_000),
    ("Gbit/s", 125_000_000),
    ("MiB/s", 1 << 20),
    ("MB/s", 1_000_000),
    ("Mbit/s", 125_000),
    ("KiB/s", 1 << 10),
    ("kB/s", 1000),
    ("kbit/s", 125),
    ("B/s", 1),
];

/// Reads a duration: `1h30m`, `10m`, `500ms`, or a number of seconds.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, after) = leading_number(rest)?;
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == ' ').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let (_, scale) = DURATIONS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.checked_mul(*scale)?)?;
        rest = after.trim_start();
    }
    (!text.is_empty()).then(|| Duration::from_millis(total))
}

/// Shows a duration in the largest unit that divides it.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if milliseconds == 0 { "0s".to_owned() } else { show(milliseconds, &DURATIONS) }
}

/// Reads `4MiB`, `64 KiB`, `10MB`, or a number of bytes.
pub(crate) fn size(text: &str) -> Option<u64> {
    scaled(text, &SIZES)
}

/// Shows a size in bytes in the largest unit that divides it.
pub(crate) fn show_size(bytes: u64) -> String {
    if bytes == 0 { "0".to_owned() } else { show(bytes, &SIZES) }
}

/// Reads `1MB/s`, `8Mbit/s`, or a number of bytes per second.
pub(crate) fn rate(text: &str) -> Option<u64> {
    scaled(text, &RATES)
}

/// Shows a rate in the largest unit that divides it.
pub(crate) fn show_rate(bytes_per_second: u64) -> String {
    if bytes_per_second == 0 { "0".to_owned() } else { show(bytes_per_second, &RATES) }
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    if let Ok(number) = text.parse::<u64>() {
        return Some(number);
    }
    let (number, unit) = leading_number(text)?;
    let (_, scale) = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()))?;
    number.checked_mul(*scale)
}

fn leading_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

fn show(value: u64, units: &[(&str, u64)]) -> String {
    units
        .iter()
        .find(|(_, scale)| value.is_multiple_of(*scale))
        .map_or_else(|| value.to_string(), |(name, scale)| format!("{}{name}", value / scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_and_without_units() {
        assert_eq!(duration("90"), Some(Duration::from_secs(90)));
        assert_eq!(duration("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(duration(" 1h 30m "), Some(Duration::from_secs(5400)));
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        for bad in ["", "m", "10x", "-1", "1.5h", "10 m", "99999999999999999999", "18446744073709551615d"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_and_rates_tell_bits_from_bytes() {
        assert_eq!(size("64KiB"), Some(65_536));
        assert_eq!(size("10 mb"), Some(10_000_000));
        assert_eq!(size("4M"), None);
        assert_eq!(rate("8Mbit/s"), Some(1_000_000));
        assert_eq!(rate("1MB/s"), Some(1_000_000));
        assert_eq!(rate("8Mb"), None);
    }

    #[test]
    fn what_is_shown_reads_back_as_the_same() {
        for seconds in [0, 1, 59, 60, 3600, 5400, 86_400, 90_061] {
            let value = Duration::from_secs(seconds);
            assert_eq!(duration(&show_duration(value)), Some(value));
        }
        for bytes in [0, 1, 1000, 1024, 1_000_000, 4 << 20, 125_000, 1_234_567] {
            assert_eq!(size(&show_size(bytes)), Some(bytes));
            assert_eq!(rate(&show_rate(bytes)), Some(bytes));
        }
    }
}
