//! Who is behind a proxy: `X-Forwarded-For` and `Forwarded` (RFC 7239), as far as the proxy is trusted.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

/// More hops than these are not looked at.
const HOPS_MAX: usize = 32;
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What a trusted proxy says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Forwarded {
    /// The client: the last address that is not a trusted proxy. Unspecified if it cannot be told.
    pub(super) client: IpAddr,
    /// Whether the client used HTTPS; `None` if the proxy does not say.
    pub(super) is_secure: Option<bool>,
}

/// The two headers name different clients: one of them was not written by the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ambiguous;

/// Whether anybody says that this request was forwarded.
pub(super) fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.contains_key(X_FORWARDED_FOR) || headers.contains_key(header::FORWARDED)
}

/// Whether an address is in one of these networks.
pub(super) fn is_within(networks: &[IpNet], ip: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&ip))
}

/// Reads what `proxy`, which is trusted, says.
///
/// # Errors
/// [`Ambiguous`]: a client could name itself in the header that its proxy does not know.
pub(super) fn read(headers: &HeaderMap, proxy: IpAddr, trusted: &[IpNet]) -> Result<Forwarded, Ambiguous> {
    let elements = last_first(headers, &header::FORWARDED);
    let by_forwarded = client(elements.iter().map(|element| parameter(element, "for")), trusted);
    let hops = last_first(headers, &X_FORWARDED_FOR);
    let by_x = client(hops.iter().map(|hop| Some(*hop)), trusted);
    let client = match (by_forwarded, by_x) {
        (Some(one), Some(other)) if one != other => return Err(Ambiguous),
        (Some(ip), _) | (None, Some(ip)) => ip,
        (None, None) => proxy,
    };
    let protocol = elements
        .first()
        .and_then(|element| parameter(element, "proto"))
        .or_else(|| last_first(headers, &X_FORWARDED_PROTO).first().copied());
    Ok(Forwarded { client, is_secure: protocol.map(|name| name.eq_ignore_ascii_case("https")) })
}

/// The elements of a list, over all headers of this name, the last one first.
fn last_first<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<&'a str> {
    let values: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    values.iter().rev().flat_map(|value| value.rsplit(',')).map(str::trim).take(HOPS_MAX).collect()
}

/// The value of a parameter of one element of `Forwarded`.
fn parameter<'a>(element: &'a str, wanted: &str) -> Option<&'a str> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case(wanted).then(|| value.trim_matches('"'))
    })
}

/// The first hop, from our side, that is not a trusted proxy; the farthest if all are.
fn client<'a>(hops: impl Iterator<Item = Option<&'a str>>, trusted: &[IpNet]) -> Option<IpAddr> {
    let mut farthest = None;
    for hop in hops {
        let Some(ip) = hop.and_then(address) else {
            return Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        };
        if !is_within(trusted, ip) {
            return Some(ip);
        }
        farthest = Some(ip);
    }
    farthest
}

/// An address, perhaps with a port, IPv6 perhaps in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let ip = text
        .parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()))
        .or_else(|_| text.trim_matches(['[', ']']).parse::<IpAddr>())
        .ok()?;
    Some(ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(headers: &[(&'static str, &str)]) -> Result<(String, Option<bool>), Ambiguous> {
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().unwrap()).to_vec();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let forwarded = read(&map, "10.0.0.1".parse().unwrap(), &trusted)?;
        Ok((forwarded.client.to_string(), forwarded.is_secure))
    }

    fn client_of(headers: &[(&'static str, &str)]) -> String {
        forwarded(headers).unwrap().0
    }

    #[test]
    fn the_client_is_the_last_hop_that_is_not_trusted() {
        assert_eq!(client_of(&[]), "10.0.0.1");
        assert_eq!(client_of(&[("x-forwarded-for", "203.0.113.9")]), "203.0.113.9");
        assert_eq!(client_of(&[("x-forwarded-for", "1.1.1.1, 203.0.113.9, 10.2.3.4")]), "203.0.113.9");
        assert_eq!(
            client_of(&[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "203.0.113.9:99")]),
            "203.0.113.9"
        );
        assert_eq!(client_of(&[("x-forwarded-for", "10.9.9.9, 10.2.3.4")]), "10.9.9.9");
        assert_eq!(
            client_of(&[("forwarded", "for=1.1.1.1, For=\"[2001:db8::7]:47\";proto=https")]),
            "2001:db8::7"
        );
        assert_eq!(client_of(&[("x-forwarded-for", "::ffff:203.0.113.9")]), "203.0.113.9");
    }

    #[test]
    fn a_hop_that_cannot_be_read_is_nobody() {
        for hop in ["unknown", "_hidden", "", "203.0.113.9, ,10.1.1.1", "999.1.1.1"] {
            assert_eq!(client_of(&[("x-forwarded-for", hop)]), "0.0.0.0", "{hop:?}");
        }
    }

    #[test]
    fn headers_that_contradict_one_another_are_refused() {
        let both = [("x-forwarded-for", "203.0.113.9"), ("forwarded", "for=127.0.0.1")];
        assert_eq!(forwarded(&both), Err(Ambiguous));
        let same = [("x-forwarded-for", "203.0.113.9"), ("forwarded", "for=203.0.113.9")];
        assert!(forwarded(&same).is_ok());
    }

    #[test]
    fn the_protocol_is_the_one_of_the_last_hop() {
        let of = |value| forwarded(&[("x-forwarded-proto", value)]).unwrap().1;
        assert_eq!(of("https"), Some(true));
        assert_eq!(of("https, http"), Some(false));
        assert_eq!(forwarded(&[]).unwrap().1, None);
        assert_eq!(forwarded(&[("forwarded", "for=1.1.1.1;proto=HTTPS")]).unwrap().1, Some(true));
    }
}
