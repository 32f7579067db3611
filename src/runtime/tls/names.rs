//! The subject alternative names of a certificate (RFC 5280 §4.2.1.6).

use std::net::IpAddr;

use crate::credentials::der::{OBJECT_IDENTIFIER, SEQUENCE, element};

const VERSION: u8 = 0xA0;
const EXTENSIONS: u8 = 0xA3;
const BOOLEAN: u8 = 0x01;
const OCTET_STRING: u8 = 0x04;
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1D, 0x11];

const EMAIL: u8 = 0x81;
const DNS: u8 = 0x82;
const URI: u8 = 0x86;
const IP: u8 = 0x87;

/// More names than these are not looked at.
const NAMES_MAX: usize = 64;

/// The names of a DER certificate that was verified, with their kinds: `dns:…` in lower case, `uri:…`, `email:…`,
/// `ip:…`. Empty if it has none.
pub(crate) fn alternative_names(certificate: &[u8]) -> Vec<Box<str>> {
    let Some(mut rest) = extension(certificate) else { return Vec::new() };
    let mut names = Vec::new();
    while names.len() < NAMES_MAX
        && let Some(&tag) = rest.first()
        && let Some((value, after)) = element(rest, tag)
    {
        rest = after;
        names.extend(name(tag, value));
    }
    names
}

fn name(tag: u8, value: &[u8]) -> Option<Box<str>> {
    let text =
        || std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic()));
    match tag {
        DNS => Some(format!("dns:{}", text()?.to_ascii_lowercase()).into()),
        URI => Some(format!("uri:{}", text()?).into()),
        EMAIL => Some(format!("email:{}", text()?).into()),
        IP => {
            let ip = <[u8; 4]>::try_from(value)
                .map(IpAddr::from)
                .or_else(|_| <[u8; 16]>::try_from(value).map(IpAddr::from))
                .ok()?;
            Some(format!("ip:{ip}").into())
        }
        _ => None,
    }
}

/// The contents of the list of names.
fn extension(certificate: &[u8]) -> Option<&[u8]> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (to_be_signed, _) = element(certificate, SEQUENCE)?;
    let mut rest = element(to_be_signed, VERSION)?.1;
    let mut extensions = loop {
        let (contents, after) = element(rest, *rest.first()?)?;
        if rest.first() == Some(&EXTENSIONS) {
            break element(contents, SEQUENCE)?.0;
        }
        rest = after;
    };
    while !extensions.is_empty() {
        let (extension, after) = element(extensions, SEQUENCE)?;
        extensions = after;
        let (id, value) = element(extension, OBJECT_IDENTIFIER)?;
        if id == SUBJECT_ALTERNATIVE_NAME {
            let value = element(value, BOOLEAN).map_or(value, |(_critical, value)| value);
            let (value, _) = element(value, OCTET_STRING)?;
            return Some(element(value, SEQUENCE)?.0);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn certificate(names: Vec<SanType>) -> Vec<u8> {
        let mut parameters = CertificateParams::default();
        parameters.subject_alt_names = names;
        parameters.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
        parameters.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn every_kind_of_name_is_read() {
        let names = alternative_names(&certificate(vec![
            SanType::DnsName("Backend.example".try_into().unwrap()),
            SanType::URI("spiffe://example/b".try_into().unwrap()),
            SanType::Rfc822Name("ops@example".try_into().unwrap()),
            SanType::IpAddress("192.0.2.7".parse().unwrap()),
            SanType::IpAddress("2001:db8::7".parse().unwrap()),
        ]));
        let names: Vec<&str> = names.iter().map(|name| &**name).collect();
        assert_eq!(
            names,
            [
                "dns:backend.example",
                "uri:spiffe://example/b",
                "email:ops@example",
                "ip:192.0.2.7",
                "ip:2001:db8::7"
            ]
        );
        assert!(alternative_names(&certificate(Vec::new())).is_empty());
    }

    #[test]
    fn cut_and_changed_certificates_do_not_panic() {
        let der = certificate(vec![SanType::DnsName("a.example".try_into().unwrap())]);
        for end in 0..der.len() {
            assert!(alternative_names(&der[..end]).is_empty());
            for value in [0, 0x7F, 0x80, 0x84, 0xFF] {
                let mut changed = der.clone();
                changed[end] = value;
                // Whether names are found depends on the byte; that it returns is what counts.
                assert!(alternative_names(&changed).len() <= NAMES_MAX);
            }
        }
    }
}
