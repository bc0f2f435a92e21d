//! The daemon's API, over ssh: it listens on the device alone.

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::Value;

use super::bench::{Bench, LONG};

impl Bench<'_> {
    /// Asks for something.
    pub fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.request("GET", path, "", &Value::Null).map(|(_, body)| body)
    }

    /// Changes something, with the device's token.
    pub fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let token = self.machine.root("cat /var/lib/metalens/token")?;
        let header = format!("Authorization: Bearer {}\r\n", token.trim());
        let (status, answer) = self.request("POST", path, &header, body)?;
        anyhow::ensure!((200..300).contains(&status), "POST {path}: {status} {answer}");
        Ok(answer)
    }

    fn request(&self, method: &str, path: &str, headers: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nConnection: close\r\n{headers}\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut ssh = self.machine.forward("127.0.0.1:8080");
        let mut ssh = ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        // Closing it would end the connection before the answer.
        let mut stdin = ssh.stdin.take().context("ssh has no input")?;
        let _ = stdin.write_all(request.as_bytes());
        let output = ssh.wait_with_output()?;
        drop(stdin);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").with_context(|| format!("{path}: no answer"))?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.context("no status")?, serde_json::from_str(body).unwrap_or_default()))
    }

    /// Keeps what is in sight with a caption.
    pub fn keep(&self, caption: &str) -> anyhow::Result<()> {
        self.post("/api/samples", &serde_json::json!({ "caption": caption })).map(|_| ())
    }

    /// How calibration stands once none is under way.
    pub fn calibration(&self) -> anyhow::Result<Value> {
        let start = Instant::now();
        loop {
            let standing = self.get("/api/calibration")?;
            if standing["adapting"] == false {
                return Ok(standing);
            }
            anyhow::ensure!(start.elapsed() < LONG, "still adapting: {standing}");
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}
