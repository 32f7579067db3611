//! The page at `/`.

use std::sync::LazyLock;

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse as _, Response},
};

use super::{assets::Held, trial};
use crate::{
    api::{Service, exchange::Exchange},
    config::{Config, PageEnabled, RequireHttps},
};

const HTML: &str = include_str!("page/index.html");
const MEDIA_TYPE: &str = "text/html; charset=utf-8";
/// What the page says of itself: that it asks for a login token.
const ASKS: &str = "data-access=\"token\"";
/// That it gets one from the server.
const OPEN: &str = "data-access=\"trial\"";

static ASKING_PAGE: LazyLock<Held> = LazyLock::new(|| Held::new(MEDIA_TYPE, HTML));
static OPEN_PAGE: LazyLock<Held> = LazyLock::new(|| Held::new(MEDIA_TYPE, HTML.replace(ASKS, OPEN)));

/// Nothing but our own files, and no code that came in a text.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                                       connect-src 'self'; base-uri 'none'; form-action 'none'; \
                                       frame-ancestors 'none'; require-trusted-types-for 'script'; \
                                       trusted-types 'none'";
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(self), microphone=(self), display-capture=(), geolocation=(), usb=(), payment=()",
    ),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// The page, where there is one and a browser asks.
pub(in crate::api) fn page(service: &Service, parts: &Parts) -> Option<Response> {
    let settings = service.settings.load();
    if !is_served(&settings.config) || !accepts_html(&parts.headers) {
        return None;
    }
    if let Some(place) = secure_place(service, parts) {
        return Some((StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, place)]).into_response());
    }
    let is_open = settings.config.jwt.trial_secret.is_some() && trial::is_from_here(parts);
    let held = if is_open { &OPEN_PAGE } else { &ASKING_PAGE };
    let mut response = held.answer(&parts.headers);
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.append(header::VARY, HeaderValue::from_static("accept"));
    Some(response)
}

/// Whether this server has the page.
pub(super) fn is_served(config: &Config) -> bool {
    match config.page.enabled {
        PageEnabled::On => true,
        PageEnabled::Off => false,
        PageEnabled::Auto => config.jwt.issuer.is_some(),
    }
}

/// Whether `text/html` is named: programs that take anything get the index.
fn accepts_html(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(header::ACCEPT).into_iter();
    let mut types = lists.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(','));
    types.any(|one| one.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case("text/html")))
}

/// The same page over HTTPS, where it came in clear text from beyond this machine: cameras and tokens want that.
fn secure_place(service: &Service, parts: &Parts) -> Option<String> {
    let exchange = Exchange::of(parts);
    let known = exchange.known();
    let rules = service.access.rules();
    if known.is_secure
        || known.is_forwarded
        || known.client.to_canonical().is_loopback()
        || !rules.has_certificate
        || rules.http.require_https == RequireHttps::Never
    {
        return None;
    }
    let host = parts.headers.get(header::HOST)?.to_str().ok()?;
    // Plain text and TLS share the port.
    Some(format!("https://{host}/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_in_one_place_how_it_is_entered() {
        assert_eq!(HTML.matches(ASKS).count(), 1);
    }

    #[test]
    fn nothing_in_the_page_needs_what_its_policy_forbids() {
        for forbidden in ["<style", "style=", " onclick", "javascript:", "http://", "https://", "<iframe"] {
            assert!(!HTML.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn browsers_are_told_by_what_they_accept() {
        let accepts = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(value));
            accepts_html(&headers)
        };
        assert!(accepts("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"));
        assert!(accepts("application/json, text/html;q=0.5"));
        for program in ["*/*", "application/json", "text/*"] {
            assert!(!accepts(program), "{program}");
        }
        assert!(!accepts_html(&HeaderMap::new()));
    }

    #[test]
    fn the_page_is_there_where_somebody_can_log_in() {
        let mut config = Config::default();
        assert!(!is_served(&config));
        config.jwt.issuer = Some("https://issuer.example".to_owned());
        assert!(is_served(&config));
        config.page.enabled = PageEnabled::Off;
        assert!(!is_served(&config));
        let mut bare = Config::default();
        bare.page.enabled = PageEnabled::On;
        assert!(is_served(&bare));
    }
}
