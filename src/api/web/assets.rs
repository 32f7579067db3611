//! Files in the binary.

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing,
};
use ring::digest::{SHA256, digest};

use super::page;
use crate::api::{Service, problem::NOT_FOUND};

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// One file.
struct File {
    path: &'static str,
    media_type: &'static str,
    text: &'static str,
    /// Whether pages of others may use it, or it goes with our page alone.
    is_shared: bool,
}

const fn shared(path: &'static str, media_type: &'static str, text: &'static str) -> File {
    File { path, media_type, text, is_shared: true }
}

const fn own(path: &'static str, media_type: &'static str, text: &'static str) -> File {
    File { path, media_type, text, is_shared: false }
}

const FILES: &[File] = &[
    shared("/iceway.js", JAVASCRIPT, include_str!("iceway.js")),
    shared("/iceway.d.ts", "application/typescript; charset=utf-8", include_str!("iceway.d.ts")),
    own("/page/page.css", "text/css; charset=utf-8", include_str!("page/page.css")),
    own("/page/page.js", JAVASCRIPT, include_str!("page/page.js")),
    own("/page/check.js", JAVASCRIPT, include_str!("page/check.js")),
    own("/page/checks.js", JAVASCRIPT, include_str!("page/checks.js")),
    own("/page/doctor.js", JAVASCRIPT, include_str!("page/doctor.js")),
    own("/page/words.js", JAVASCRIPT, include_str!("page/words.js")),
    own("/page/session.js", JAVASCRIPT, include_str!("page/session.js")),
    own("/page/room.js", JAVASCRIPT, include_str!("page/room.js")),
    own("/page/media.js", JAVASCRIPT, include_str!("page/media.js")),
    own("/page/quality.js", JAVASCRIPT, include_str!("page/quality.js")),
    own("/page/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
];

/// A route for each file.
pub(in crate::api) fn assets() -> Router<Service> {
    FILES.iter().fold(Router::new(), |router, file| {
        let held = Held::new(file.media_type, file.text);
        let answer = async move |State(service): State<Service>, asked: HeaderMap| {
            if !file.is_shared && !page::is_served(&service.settings.load().config) {
                return NOT_FOUND.answer(&[]);
            }
            let mut response = held.answer(&asked);
            let policy = if file.is_shared { "cross-origin" } else { "same-origin" };
            let headers = response.headers_mut();
            headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static(policy));
            if file.is_shared {
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            }
            response
        };
        router.route(file.path, routing::get(answer))
    })
}

/// A text that is ready to be sent, with its tag.
#[derive(Clone)]
pub(super) struct Held {
    text: Bytes,
    media_type: &'static str,
    tag: HeaderValue,
}

impl Held {
    pub(super) fn new(media_type: &'static str, text: impl Into<Bytes>) -> Self {
        const TAG_BYTES: usize = 12;
        let text = text.into();
        let hash = digest(&SHA256, &text);
        let hex: String = hash.as_ref().iter().take(TAG_BYTES).map(|byte| format!("{byte:02x}")).collect();
        // Hexadecimal digits between quotes make a header.
        let tag = HeaderValue::try_from(format!("\"{hex}\"")).unwrap_or(HeaderValue::from_static("\"\""));
        Self { text, media_type, tag }
    }

    /// The text, or 304 to who has it already.
    pub(super) fn answer(&self, asked: &HeaderMap) -> Response {
        let mut response = if self.is_known(asked) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            ([(header::CONTENT_TYPE, self.media_type)], self.text.clone()).into_response()
        };
        let headers = response.headers_mut();
        headers.insert(header::ETAG, self.tag.clone());
        // Kept, but asked about each time: a new version of the server brings new files.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }

    fn is_known(&self, asked: &HeaderMap) -> bool {
        let lists = asked.get_all(header::IF_NONE_MATCH).into_iter();
        let mut tags = lists.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(','));
        tags.any(|tag| {
            let tag = tag.trim();
            tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == self.tag.as_bytes()
        })
    }
}
