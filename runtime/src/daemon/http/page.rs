//! The page, its script and style, and the description of the API: all in the program.

use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Nothing of another origin is loaded, and no other page may show this one.
const POLICY: &str = "default-src 'self'; img-src 'self' data: blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

pub(super) async fn index() -> impl IntoResponse {
    text("text/html; charset=utf-8", include_str!("page/index.html"))
}

pub(super) async fn script() -> impl IntoResponse {
    text("text/javascript; charset=utf-8", include_str!("page/app.js"))
}

pub(super) async fn style() -> impl IntoResponse {
    text("text/css; charset=utf-8", include_str!("page/style.css"))
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
