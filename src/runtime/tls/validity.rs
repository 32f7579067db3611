//! When a certificate is valid (RFC 5280 §4.1.2.5): the one thing in it that rustls leaves to the client to check.

use crate::credentials::der::{INTEGER, SEQUENCE, element};

/// From when to when a certificate is valid, in seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
}

const VERSION: u8 = 0xA0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Reads the validity of a DER certificate; `None` if it is not one.
pub(crate) fn validity(certificate: &[u8]) -> Option<Validity> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (to_be_signed, _) = element(certificate, SEQUENCE)?;
    let rest = element(to_be_signed, VERSION).map_or(to_be_signed, |(_, rest)| rest);
    let (_serial, rest) = element(rest, INTEGER)?;
    let (_signature_algorithm, rest) = element(rest, SEQUENCE)?;
    let (_issuer, rest) = element(rest, SEQUENCE)?;
    let (validity, _) = element(rest, SEQUENCE)?;
    let (not_before, rest) = time(validity)?;
    let (not_after, _) = time(rest)?;
    Some(Validity { not_before, not_after })
}

/// Reads a UTCTime or GeneralizedTime; in certificates both end in `Z` and have seconds.
fn time(input: &[u8]) -> Option<(u64, &[u8])> {
    let (year, rest_of_time, rest) = if let Some((text, rest)) = element(input, UTC_TIME) {
        let (year, text) = number(text, 2)?;
        (if year < 50 { 2000 + year } else { 1900 + year }, text, rest)
    } else {
        let (text, rest) = element(input, GENERALIZED_TIME)?;
        let (year, text) = number(text, 4)?;
        (year, text, rest)
    };
    let (month, text) = number(rest_of_time, 2)?;
    let (day, text) = number(text, 2)?;
    let (hour, text) = number(text, 2)?;
    let (minute, text) = number(text, 2)?;
    let (second, text) = number(text, 2)?;
    if text != b"Z" || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let days = days_since_epoch(year, month, day)?;
    Some((days * 86_400 + hour * 3600 + minute * 60 + second, rest))
}

fn number(text: &[u8], digits: usize) -> Option<(u64, &[u8])> {
    let (number, rest) = text.split_at_checked(digits)?;
    let value = number.iter().try_fold(0, |value: u64, digit| {
        digit.is_ascii_digit().then(|| value * 10 + u64::from(digit - b'0'))
    })?;
    Some((value, rest))
}

/// Days from 1970-01-01 to a date of the Gregorian calendar; 0 before that.
fn days_since_epoch(year: u64, month: u64, day: u64) -> Option<u64> {
    // Years that begin in March have the leap day at their end.
    let year = if month <= 2 { year.checked_sub(1)? } else { year };
    let month = (month + 9) % 12;
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year;
    Some(days.saturating_sub(719_468))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(days_since_epoch(1970, 1, 1), Some(0));
        assert_eq!(days_since_epoch(2000, 2, 29), Some(11_016));
        assert_eq!(days_since_epoch(2026, 11, 22), Some(20_779));
        assert_eq!(days_since_epoch(2100, 3, 1), Some(47_541));
    }

    #[test]
    fn both_notations_of_time_are_read() {
        assert_eq!(time(b"\x17\x0d261122000000Z").unwrap().0, 20_779 * 86_400);
        assert_eq!(time(b"\x18\x0f21000301010203Z").unwrap().0, 47_541 * 86_400 + 3723);
        assert_eq!(time(b"\x17\x0d991231235959Z").unwrap().0, 946_684_799);
        assert!(time(b"\x17\x0b2611220000Z").is_none());
        assert!(time(b"\x17\x0d261322000000Z").is_none());
    }

    #[test]
    fn a_generated_certificate_says_when_it_is_valid() {
        let mut parameters = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(2020, 1, 2);
        parameters.not_after = rcgen::date_time_ymd(2051, 3, 4);
        let certificate = parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let validity = validity(certificate.der()).unwrap();
        assert_eq!(validity.not_before, 1_577_923_200);
        assert_eq!(validity.not_after, 2_561_500_800);
    }

    #[test]
    fn cut_and_changed_certificates_do_not_panic() {
        let parameters = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let der = certificate.der().to_vec();
        for end in 0..der.len() {
            assert!(validity(&der[..end]).is_none());
            for value in [0, 0x7F, 0x80, 0x84, 0xFF] {
                let mut changed = der.clone();
                changed[end] = value;
                // Whether it can still be read depends on the byte; that it returns is what counts.
                let _read = validity(&changed);
            }
        }
    }
}
