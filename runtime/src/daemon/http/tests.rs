//! The router, and what describes it.
#![allow(clippy::unwrap_used)]

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use axum::response::Response;
use metalens_firmware_config::Config;
use metalens_models::Bundle;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

use super::*;
use crate::camera::Frame;
use crate::daemon::{Hub, Metrics, Release, Suggestions, Workshop};

const BUNDLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/flickr8k-lite0");
const OWN: &str = "http://device:8080";
const OTHER: &str = "https://elsewhere.example";
/// Bytes of a body, at most.
const LIMIT: usize = 1024;

/// A device that has seen one frame, keeps one sample, and asks about two pictures.
struct Device {
    router: Router,
    token: String,
    sample: String,
    _state: TempDir,
}

impl Device {
    fn new() -> Self {
        let hopper = include_bytes!("../../../../tests/pictures/hopper.jpg");
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path();
        let offered = state.join("suggestions");
        std::fs::create_dir(&offered).unwrap();
        for id in ["7", "8"] {
            let offer = json!({ "id": id, "time": "", "score": 0.5, "caption": "a dog", "direction": [1.0] });
            std::fs::write(offered.join(id).with_extension("json"), offer.to_string()).unwrap();
            std::fs::write(offered.join(id).with_extension("jpg"), hopper).unwrap();
        }

        let text = format!("source = \"files:none\"\nstate = {state:?}\n[http]\nmax_body_bytes = {LIMIT}\n");
        let config = Config::parse(&text).unwrap();
        let bundle = Bundle::open(std::path::Path::new(BUNDLE)).unwrap();
        let release = Release::of(&bundle);
        let hub = Arc::new(Hub::new(Metrics::new("0", "0"), config.caption.clone(), 4));
        hub.show(&Frame { data: hopper.to_vec(), sequence: 1, ..Frame::default() });
        let suggestions = Suggestions::new(state, 4, None, &hub);
        let workshop = Workshop::open(bundle, crate::Options::default(), state.to_owned(), hub.clone());
        let sample = workshop.keep("hopper.jpg", hopper, "an admiral").unwrap();
        let settings = config.http.clone().unwrap();
        let daemon = Daemon { hub, workshop, suggestions, config: Arc::new(config), release };
        let access = Access::open(state, vec!["https://trusted.example".to_owned()]).unwrap();
        let token = std::fs::read_to_string(state.join("token")).unwrap().trim().to_owned();
        Self { router: router(daemon, access, &settings), token, sample, _state: folder }
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let mut request = Request::builder().method(method).uri(path).header("host", "device:8080");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.router.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap()
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        content(self.ask("GET", path, &[], "").await).await
    }

    /// Everything that can be changed, as whoever reads sees it.
    async fn everything(&self) -> Vec<(StatusCode, Value)> {
        let mut seen = Vec::new();
        for path in [
            "/api/samples",
            "/api/suggestions",
            "/api/calibration",
            "/healthz",
            "/api/config",
            "/api/frames/1",
        ] {
            seen.push(self.get(path).await);
        }
        seen
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }
}

async fn content(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

fn description() -> Value {
    serde_json::from_str(include_str!("openapi.json")).unwrap()
}

/// Every method and path that the description has.
fn described() -> Vec<(String, String)> {
    let description = description();
    let paths = description["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        item.as_object().unwrap().keys().map(move |method| (method.to_uppercase(), path.clone()))
    });
    operations.collect()
}

/// Every request that changes something: method, route, path, body, and the answer to whoever may.
fn changes(device: &Device) -> [(&'static str, &'static str, String, &'static str, StatusCode); 7] {
    let path = str::to_owned;
    [
        ("POST", "/api/token", path("/api/token"), "", StatusCode::NO_CONTENT),
        ("POST", "/api/frames", path("/api/frames"), "", StatusCode::CREATED),
        (
            "POST",
            "/api/samples",
            path("/api/samples"),
            "{\"caption\": \"a dog\", \"suggestion\": \"7\"}",
            StatusCode::CREATED,
        ),
        (
            "DELETE",
            "/api/samples/{name}",
            format!("/api/samples/{}", device.sample),
            "",
            StatusCode::NO_CONTENT,
        ),
        ("DELETE", "/api/suggestions/{id}", path("/api/suggestions/8"), "", StatusCode::NO_CONTENT),
        ("POST", "/api/calibration/undo", path("/api/calibration/undo"), "{}", StatusCode::CONFLICT),
        ("POST", "/api/calibration", path("/api/calibration"), "{\"force\": true}", StatusCode::ACCEPTED),
    ]
}

#[tokio::test]
async fn every_route_is_described_and_whatever_is_described_is_routed() {
    let device = Device::new();
    let mut routed = Vec::new();
    for (path, _) in ROUTES {
        // The answer to a method that a route has not names those that it has.
        let response = device.ask("OPTIONS", path, &[], "").await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        let methods = response.headers()["allow"].to_str().unwrap().to_owned();
        let methods = methods.split(',').filter(|method| *method != "HEAD");
        routed.extend(methods.map(|method| (method.to_owned(), path.to_owned())));
    }
    let mut described = described();
    routed.sort();
    described.sort();
    assert_eq!(routed, described);
}

#[tokio::test]
async fn without_the_token_or_from_another_origin_nothing_changes() {
    let device = Device::new();
    let bearer = device.bearer();
    let wrong = format!("Bearer {}", "0".repeat(device.token.len()));
    let basic = format!("Basic {}", device.token);
    let attempts: [(&[(&str, &str)], StatusCode); 7] = [
        (&[], StatusCode::UNAUTHORIZED),
        (&[("authorization", &wrong)], StatusCode::UNAUTHORIZED),
        (&[("authorization", &basic)], StatusCode::UNAUTHORIZED),
        (&[("authorization", "Bearer "), ("origin", OWN)], StatusCode::UNAUTHORIZED),
        (&[("authorization", &bearer), ("origin", OTHER)], StatusCode::FORBIDDEN),
        (&[("authorization", &bearer), ("origin", "null")], StatusCode::FORBIDDEN),
        (&[("authorization", &bearer), ("origin", "http://device:8081")], StatusCode::FORBIDDEN),
    ];
    let before = device.everything().await;
    for (method, _, path, body, _) in changes(&device) {
        for (headers, refusal) in attempts {
            let response = device.ask(method, &path, headers, body).await;
            let challenged = response.headers().contains_key("www-authenticate");
            let (status, content) = content(response).await;
            assert_eq!(status, refusal, "{method} {path} {headers:?}");
            assert_eq!(challenged, refusal == StatusCode::UNAUTHORIZED);
            assert!(content["error"].as_str().is_some_and(|error| !error.contains(&device.token)));
            assert_eq!(device.everything().await, before, "{method} {path} {headers:?}");
        }
    }
}

#[tokio::test]
async fn with_the_token_every_change_is_made_and_answered_as_described() {
    let device = Device::new();
    let bearer = device.bearer();
    let description = description();
    let changes = changes(&device);
    let mut table: Vec<(String, String)> =
        changes.iter().map(|(method, route, ..)| ((*method).to_owned(), (*route).to_owned())).collect();
    let mut described: Vec<_> = described().into_iter().filter(|(method, _)| method != "GET").collect();
    table.sort();
    described.sort();
    assert_eq!(table, described, "the table has every change");

    for (method, route, path, body, expected) in changes {
        let secure = &description["paths"][route][method.to_lowercase()];
        assert!(secure["responses"].get(expected.as_str()).is_some(), "{method} {route}: {expected}");
        assert_eq!(secure["security"], json!([{ "token": [] }]), "{method} {route}");
        for code in ["401", "403"] {
            assert!(secure["responses"].get(code).is_some(), "{method} {route}: {code}");
        }
        let response = device.ask(method, &path, &[("authorization", &bearer), ("origin", OWN)], body).await;
        assert_eq!(response.status(), expected, "{method} {path}");
    }
    let samples = device.get("/api/samples").await.1;
    assert_eq!(samples.as_array().unwrap().len(), 1, "one was kept and one removed: {samples}");
    assert_eq!(samples[0]["captions"], json!(["a dog"]));
    assert_eq!(device.get("/api/suggestions").await.1, json!([]));
    assert_eq!(device.get("/api/frames/1").await.0, StatusCode::OK);
}

#[tokio::test]
async fn an_origin_that_is_named_is_trusted_and_so_is_who_has_none() {
    let device = Device::new();
    let bearer = device.bearer();
    for headers in [
        &[("authorization", bearer.as_str())][..],
        &[("authorization", &bearer), ("origin", "https://trusted.example")],
        &[("authorization", &bearer), ("origin", "HTTP://DEVICE:8080")],
    ] {
        let response = device.ask("POST", "/api/token", headers, "").await;
        assert_eq!(response.status(), StatusCode::NO_CONTENT, "{headers:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_understood_is_refused_in_one_line() {
    let device = Device::new();
    let bearer = device.bearer();
    let long = format!("{{\"caption\": \"{}\"}}", "a dog ".repeat(LIMIT / 6));
    let cases = [
        ("POST", "/api/samples", long.as_str(), StatusCode::PAYLOAD_TOO_LARGE),
        ("POST", "/api/frames", &long, StatusCode::PAYLOAD_TOO_LARGE),
        ("POST", "/api/calibration", &long, StatusCode::PAYLOAD_TOO_LARGE),
        ("POST", "/api/calibration/undo", &long, StatusCode::PAYLOAD_TOO_LARGE),
        ("POST", "/api/samples", "", StatusCode::BAD_REQUEST),
        ("POST", "/api/samples", "a dog", StatusCode::BAD_REQUEST),
        ("POST", "/api/samples", "[\"a dog\", null, null]", StatusCode::BAD_REQUEST),
        ("POST", "/api/frames", "[]", StatusCode::BAD_REQUEST),
        ("POST", "/api/samples", "{\"caption\": \"-- !\"}", StatusCode::BAD_REQUEST),
        ("POST", "/api/samples", "{\"caption\": \"a dog\", \"label\": 1}", StatusCode::BAD_REQUEST),
        (
            "POST",
            "/api/samples",
            "{\"caption\": \"a\", \"frame\": \"1\", \"suggestion\": \"7\"}",
            StatusCode::BAD_REQUEST,
        ),
        ("POST", "/api/samples", "{\"caption\": \"a dog\", \"frame\": \"9\"}", StatusCode::NOT_FOUND),
        ("POST", "/api/samples", "{\"caption\": \"a dog\", \"suggestion\": \"9\"}", StatusCode::NOT_FOUND),
        ("POST", "/api/calibration", "{\"force\": 1}", StatusCode::BAD_REQUEST),
        ("DELETE", "/api/samples/none.jpg", "", StatusCode::NOT_FOUND),
        ("DELETE", "/api/samples/..%2Ftoken", "", StatusCode::NOT_FOUND),
        ("DELETE", "/api/samples/%FF", "", StatusCode::BAD_REQUEST),
        ("GET", "/api/samples/..%2Ftoken", "", StatusCode::NOT_FOUND),
        ("GET", "/api/suggestions/..%2Ftoken", "", StatusCode::NOT_FOUND),
        ("GET", "/page/..%2Fopenapi.json", "", StatusCode::NOT_FOUND),
        ("GET", "/api", "", StatusCode::NOT_FOUND),
        ("PUT", "/api/samples", "", StatusCode::METHOD_NOT_ALLOWED),
    ];
    let before = device.everything().await;
    for (method, path, body, expected) in cases {
        let response = device.ask(method, path, &[("authorization", &bearer)], body).await;
        let (status, content) = content(response).await;
        assert_eq!(status, expected, "{method} {path} {body}: {content}");
        let error = content["error"].as_str().unwrap();
        assert!(!error.is_empty() && !error.contains('\n'), "{error:?}");
    }
    assert_eq!(device.everything().await, before);
}

#[tokio::test]
async fn the_page_loads_nothing_of_others_and_everything_that_it_names_is_there() {
    let device = Device::new();
    let page = device.ask("GET", "/", &[], "").await;
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'self'") && !policy.contains("unsafe"), "{policy}");
    for (name, kind, content) in page::FILES {
        let response = device.ask("GET", &format!("/page/{name}"), &[], "").await;
        assert_eq!(response.headers()["content-type"], kind, "{name}");
        let imported = content.split("from \"./").skip(1).filter_map(|rest| rest.split('"').next());
        for import in imported {
            assert!(page::FILES.iter().any(|(file, ..)| *file == import), "{name} imports {import}");
        }
        for forbidden in ["innerHTML", "insertAdjacentHTML", "outerHTML", "eval(", "https://"] {
            assert!(!content.contains(forbidden), "{name} has {forbidden}");
        }
    }
    let page = to_bytes(page.into_body(), usize::MAX).await.unwrap();
    let page = String::from_utf8(page.to_vec()).unwrap();
    for forbidden in ["https://", "style=", "onclick=", "<script>"] {
        assert!(!page.contains(forbidden), "the page has {forbidden}");
    }
}
