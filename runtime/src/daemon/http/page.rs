//! The page, its scripts and style, and the description of the API: all in the program.

use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::ApiError;
use super::body::Name;

/// Nothing of another origin is loaded, and no other page may show this one.
const POLICY: &str = "default-src 'self'; img-src 'self' data: blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

pub(super) async fn index() -> impl IntoResponse {
    text("text/html; charset=utf-8", include_str!("page/index.html"))
}

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// What the page loads: name, kind, content.
pub(super) const FILES: [(&str, &str, &str); 13] = [
    ("api.js", SCRIPT, include_str!("page/api.js")),
    ("app.js", SCRIPT, include_str!("page/app.js")),
    ("boxes.js", SCRIPT, include_str!("page/boxes.js")),
    ("caption.js", SCRIPT, include_str!("page/caption.js")),
    ("dom.js", SCRIPT, include_str!("page/dom.js")),
    ("heat.js", SCRIPT, include_str!("page/heat.js")),
    ("history.js", SCRIPT, include_str!("page/history.js")),
    ("live.js", SCRIPT, include_str!("page/live.js")),
    ("outcome.js", SCRIPT, include_str!("page/outcome.js")),
    ("pictures.js", SCRIPT, include_str!("page/pictures.js")),
    ("status.js", SCRIPT, include_str!("page/status.js")),
    ("style.css", STYLE, include_str!("page/style.css")),
    ("teach.js", SCRIPT, include_str!("page/teach.js")),
];

/// A script or the style.
pub(super) async fn file(Name(name): Name) -> Result<impl IntoResponse, ApiError> {
    let found = FILES.iter().find(|(file, ..)| *file == name);
    found.map(|(_, kind, content)| text(kind, content)).ok_or(ApiError::Missing { what: "file", name })
}

pub(super) async fn openapi() -> impl IntoResponse {
    text("application/json", include_str!("openapi.json"))
}

fn text(kind: &'static str, content: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], content)
}

/// Headers of every response.
pub(super) async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
