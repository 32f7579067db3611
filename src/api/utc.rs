//! Points in time for people and for JSON.

/// Seconds of a day.
const DAY: u64 = 86_400;
/// Days since 1970 beyond which years have more than four digits.
const DAYS_MAX: u64 = 2_932_896;

/// Seconds since the Unix epoch as `2026-11-22 16:38:05 UTC`.
pub(crate) fn utc(unix: u64) -> String {
    if unix / DAY > DAYS_MAX {
        return format!("{unix} seconds after 1970");
    }
    let (date, time) = texts(unix);
    format!("{date} {time} UTC")
}

/// Seconds since the Unix epoch as `2026-11-22T16:38:05Z` (RFC 3339); the last second of 9999 stands for what is later.
pub(crate) fn rfc3339(unix: u64) -> String {
    let (date, time) = texts(unix.min(DAYS_MAX * DAY + DAY - 1));
    format!("{date}T{time}Z")
}

/// Seconds with the two largest units that matter: `42s`, `5m`, `1h2m`, `3d4h`.
pub(crate) fn span(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let first = UNITS.iter().position(|(size, _)| seconds >= *size).unwrap_or(UNITS.len() - 1);
    let mut rest = seconds;
    let mut text = String::new();
    for (size, unit) in UNITS.iter().skip(first).take(2) {
        let count = rest / size;
        rest %= size;
        if count > 0 || text.is_empty() {
            text.push_str(&format!("{count}{unit}"));
        }
    }
    text
}

/// Days since the Unix epoch as `2026-11-22`.
pub(crate) fn date(days: u64) -> String {
    let (year, month, day) = civil(days.min(DAYS_MAX));
    format!("{year:04}-{month:02}-{day:02}")
}

/// The days since the Unix epoch that `2026-11-22` stands for; `None` if it is no date from 1970 on.
pub(crate) fn days(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes.get(4) != Some(&b'-') || bytes.get(7) != Some(&b'-') {
        return None;
    }
    let number =
        |range| text.get(range).filter(|t: &&str| t.bytes().all(|b| b.is_ascii_digit()))?.parse::<u64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Counted from March, as in `civil`.
    let (years, months) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let (era, year_of_era) = (years / 400, years % 400);
    let day_of_era =
        year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + (153 * months + 2) / 5 + day - 1;
    let days = era * 146_097 + day_of_era - 719_468;
    (civil(days) == (year, month, day)).then_some(days)
}

fn texts(unix: u64) -> (String, String) {
    let second = unix % DAY;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    (date(unix / DAY), format!("{hour:02}:{minute:02}:{second:02}"))
}

/// The date that is `days` after 1970-01-01, counted in years that begin in March, so that the leap day is the last.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    let since = days + 719_468; // from 0000-03-01
    let era = since / DAYS_OF_400_YEARS;
    let day_of_era = since % DAYS_OF_400_YEARS;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_its_two_largest_units() {
        let spans = [0, 42, 60, 90, 300, 3720, 86_399, 86_400 * 3 + 4 * 3600 + 5].map(span);
        assert_eq!(spans, ["0s", "42s", "1m", "1m30s", "5m", "1h2m", "23h59m", "3d4h"]);
    }

    #[test]
    fn dates_are_those_of_date_u() {
        for (unix, expected) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_795_365_485, "2026-11-22 16:38:05 UTC"),
            (4_102_444_799, "2099-12-31 23:59:59 UTC"),
        ] {
            assert_eq!(utc(unix), expected);
        }
        assert_eq!(utc(u64::MAX), format!("{} seconds after 1970", u64::MAX));
    }

    #[test]
    fn dates_are_read_back_and_what_is_none_is_not() {
        for number in (0..DAYS_MAX).step_by(97).chain([0, 59, 60, 10_957, 11_016, DAYS_MAX]) {
            assert_eq!(days(&date(number)), Some(number));
        }
        assert_eq!(rfc3339(1_795_365_485), "2026-11-22T16:38:05Z");
        assert_eq!(rfc3339(u64::MAX), "9999-12-31T23:59:59Z");
        for text in [
            "",
            "2026-2-01",
            "2026-02-30",
            "2025-02-29",
            "1969-12-31",
            "2026-13-01",
            "2026-00-10",
            "２０２６-01-01",
            "+026-01-01",
        ] {
            assert_eq!(days(text), None, "{text}");
        }
    }
}
