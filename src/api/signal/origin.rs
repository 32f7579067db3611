//! Which pages may connect.

use axum::http::{HeaderMap, HeaderValue, header};

use crate::config::WebOrigin;

/// Whether a socket may be opened by whoever sent these headers: a page of this server, one of a listed origin, or no
/// page at all.
pub(super) fn is_welcome(headers: &HeaderMap, listed: &[WebOrigin]) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let (Some(origin), None) = (origins.next(), origins.next()) else {
        return !headers.contains_key(header::ORIGIN);
    };
    let Ok(origin) = origin.to_str() else { return false };
    listed.iter().any(|listed| listed.0 == origin) || is_own(origin, headers.get(header::HOST))
}

fn is_own(origin: &str, host: Option<&HeaderValue>) -> bool {
    let named = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    let host = host.and_then(|host| host.to_str().ok());
    match (named, host) {
        (Some(named), Some(host)) => !named.is_empty() && named.eq_ignore_ascii_case(host),
        (None, _) | (_, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn welcome(headers: &[(header::HeaderName, &str)]) -> bool {
        let mut map = HeaderMap::new();
        map.insert(header::HOST, HeaderValue::from_static("signal.example:9641"));
        for (name, value) in headers {
            map.append(name, value.parse().unwrap());
        }
        is_welcome(&map, &[WebOrigin("https://app.example".to_owned())])
    }

    #[test]
    fn listed_pages_own_ones_and_programs_are_let_in() {
        assert!(welcome(&[]));
        for origin in ["https://app.example", "http://signal.example:9641", "https://SIGNAL.example:9641"] {
            assert!(welcome(&[(header::ORIGIN, origin)]), "{origin}");
        }
    }

    #[test]
    fn all_others_are_not() {
        for origin in [
            "https://app.example.evil.example",
            "https://app.example:8443",
            "http://app.example",
            "https://signal.example",
            "https://evil.example",
            "null",
            "",
            "http://",
        ] {
            assert!(!welcome(&[(header::ORIGIN, origin)]), "{origin}");
        }
        let two = [(header::ORIGIN, "https://app.example"), (header::ORIGIN, "https://evil.example")];
        assert!(!welcome(&two));
    }
}
