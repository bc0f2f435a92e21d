//! Chromium without a screen, through the WebDriver protocol (<https://www.w3.org/TR/webdriver2/>).

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http;
use crate::served::wait;

/// The key under which the protocol names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Programs that are Chromium.
const PROGRAMS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// A browser with one empty profile; it is closed when it is dropped.
pub struct Browser {
    driver: Child,
    address: String,
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// Starts one; none where Chromium or its driver is missing.
    ///
    /// # Errors
    /// When it is there and does not start.
    pub fn start() -> anyhow::Result<Option<Self>> {
        let Some(program) = PROGRAMS.into_iter().find_map(installed) else { return Ok(None) };
        let driver = Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).spawn();
        let Ok(mut driver) = driver else { return Ok(None) };
        let told = BufReader::new(driver.stdout.take().context("standard output")?);
        let mut lines = told.lines().map_while(Result::ok);
        let port = lines.find_map(|line| {
            line.split_once("successfully on port ").map(|(_, port)| port.trim_end_matches('.').to_owned())
        });
        let address = format!("127.0.0.1:{}", port.context("chromedriver tells no port")?);
        // It would wait for somebody to read what it tells.
        std::thread::spawn(move || lines.for_each(drop));

        let profile = tempfile::tempdir()?;
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
        ];
        let mut arguments = arguments.map(str::to_owned).to_vec();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "binary": program, "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let mut new = Self { driver, address, session: String::new(), _profile: profile };
        let session = new.send("POST", "/session", &wanted)?;
        new.session = session["sessionId"].as_str().context("no session")?.to_owned();
        Ok(Some(new))
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> anyhow::Result<Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers = [("Content-Type", "application/json")];
        let response = http::request(&self.address, method, path, &headers, body.as_bytes())?;
        let value = response.json()["value"].take();
        anyhow::ensure!(response.status == 200, "{method} {path} {body}: {value}");
        Ok(value)
    }

    fn act(&self, method: &str, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send(method, &format!("/session/{}/{path}", self.session), body)
    }

    /// Opens a page.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(&self, url: &str) -> anyhow::Result<()> {
        self.act("POST", "url", &json!({ "url": url })).map(drop)
    }

    /// What a script returns.
    ///
    /// # Errors
    /// When it throws.
    pub fn script(&self, script: &str) -> anyhow::Result<Value> {
        self.act("POST", "execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// A command of Chromium's own protocol.
    ///
    /// # Errors
    /// When it is refused.
    pub fn devtools(&self, command: &str, parameters: &Value) -> anyhow::Result<()> {
        self.act("POST", "goog/cdp/execute", &json!({ "cmd": command, "params": parameters })).map(drop)
    }

    /// Shows the page at this size, in CSS pixels, in dark or light colours.
    ///
    /// # Errors
    /// When that is refused.
    pub fn show_as(&self, width: u32, height: u32, colours: &str) -> anyhow::Result<()> {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.devtools("Emulation.setDeviceMetricsOverride", &size)?;
        let scheme = json!({ "features": [{ "name": "prefers-color-scheme", "value": colours }] });
        self.devtools("Emulation.setEmulatedMedia", &scheme)
    }

    /// Waits until the element is there, can be seen and is enabled.
    fn element(&self, selector: &str) -> anyhow::Result<String> {
        let query = json!({ "using": "css selector", "value": selector });
        wait(selector, || {
            let found = self.act("POST", "element", &query).ok()?;
            let id = found[ELEMENT].as_str()?.to_owned();
            let is = |what: &str| self.act("GET", &format!("element/{id}/{what}"), &Value::Null).ok();
            (is("displayed")? == true && is("enabled")? == true).then_some(id)
        })
    }

    /// Clicks an element.
    ///
    /// # Errors
    /// When it does not appear.
    pub fn click(&self, selector: &str) -> anyhow::Result<()> {
        let id = self.element(selector)?;
        self.act("POST", &format!("element/{id}/click"), &json!({})).map(drop)
    }

    /// Types into a field.
    ///
    /// # Errors
    /// When it does not appear.
    pub fn type_into(&self, selector: &str, text: &str) -> anyhow::Result<()> {
        let id = self.element(selector)?;
        self.act("POST", &format!("element/{id}/value"), &json!({ "text": text })).map(drop)
    }

    /// Moves the mouse over an element.
    ///
    /// # Errors
    /// When it does not appear.
    pub fn point_at(&self, selector: &str) -> anyhow::Result<()> {
        let origin = json!({ ELEMENT: self.element(selector)? });
        let step = json!({ "type": "pointerMove", "duration": 0, "origin": origin, "x": 0, "y": 0 });
        let mouse = json!({ "type": "pointer", "id": "mouse", "parameters": { "pointerType": "mouse" }, "actions": [step] });
        self.act("POST", "actions", &json!({ "actions": [mouse] })).map(drop)
    }

    /// The text that can be read in the first of these elements; empty where it is hidden, or there is none.
    #[must_use]
    pub fn text(&self, selector: &str) -> String {
        // Of what is hidden, browsers give the text as well.
        let script = format!(
            "const found = document.querySelector({}); return found?.checkVisibility() ? found.innerText : ''",
            json!(selector)
        );
        self.script(&script).ok().and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// What the page complained about since it was asked last.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn complaints(&self) -> anyhow::Result<Vec<String>> {
        let entries = self.act("POST", "se/log", &json!({ "type": "browser" }))?;
        let severe = |entry: &&Value| matches!(entry["level"].as_str(), Some("SEVERE" | "WARNING"));
        let messages =
            entries.as_array().into_iter().flatten().filter(severe).map(|entry| entry["message"].to_string());
        Ok(messages.collect())
    }

    /// Writes what is seen into a PNG file.
    ///
    /// # Errors
    /// When it cannot be taken or written.
    pub fn screenshot(&self, path: &Path) -> anyhow::Result<()> {
        let picture = self.act("GET", "screenshot", &Value::Null)?;
        let bytes = STANDARD.decode(picture.as_str().context("no picture")?)?;
        std::fs::write(path, bytes).with_context(|| path.display().to_string())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Chromium ends with its session; the driver would leave it behind.
        let _ = self.send("DELETE", &format!("/session/{}", self.session), &Value::Null);
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn installed(program: &str) -> Option<String> {
    let path = std::env::var_os("PATH")?;
    let found =
        std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file())?;
    Some(found.to_string_lossy().into_owned())
}
