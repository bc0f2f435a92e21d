//! `cargo xtask bench daemon`: how long a caption takes in the daemon, and what adapting beside it costs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::{median, number};
use crate::run::{cargo, output, root, run, target};

/// Captions of which the latency is taken, after those that warm up.
const CAPTIONS: usize = 100;
const WARM_UP: usize = 10;
/// Of the rate of whole captions: the daemon decodes as well, and at its very limit a frame now and then waits for the one before.
const SHARE: f64 = 0.8;
/// Samples of a calibration.
const SAMPLES: usize = 5;
/// Captions are counted for so long between calibrations.
const BETWEEN: Duration = Duration::from_secs(2);

/// Latency beside `metalens bench`'s whole caption, and the rate of captions with and without a calibration beside them.
pub fn daemon(rounds: usize) -> anyhow::Result<()> {
    anyhow::ensure!(rounds > 0, "--rounds needs 1 or more");
    run(cargo().args(["build", "--quiet", "--workspace"]))?;
    let program = target().join("debug/metalens");
    let folder = tempfile::tempdir()?;
    let bundle = root().join("models/flickr8k-lite0");
    std::fs::create_dir(folder.path().join("pictures"))?;
    std::fs::copy(bundle.join("golden.jpg"), folder.path().join("pictures/golden.jpg"))?;

    println!("milliseconds        whole caption  frame to published   ratio");
    let mut ratios = Vec::new();
    for round in 1..=rounds {
        let report = output(Command::new(&program).args(["bench", "--json", "--bundle"]).arg(&bundle))?;
        let caption = report.split("\"caption_ms\":").nth(1).context("no caption_ms")?;
        let whole = number(caption, "median")?;
        let running = Running::start(&program, folder.path(), &bundle, SHARE * 1e3 / whole)?;
        let latency = median(
            (0..CAPTIONS + WARM_UP).map(|_| running.latency()).skip(WARM_UP).collect::<Result<_, _>>()?,
        );
        println!("round {round:<12}{whole:>15.1}{latency:>20.1}{:>8.2}", latency / whole);
        ratios.push(latency / whole);
    }
    println!("{:18}{:>43.2}", "median", median(ratios));

    println!("captions a second        alone   while adapting   share kept");
    let running = Running::start(&program, folder.path(), &bundle, 1000.0)?;
    running.latency()?;
    for sample in 0..SAMPLES {
        running.change("POST", "/api/samples", &format!("{{\"caption\":\"a zorb number {sample}\"}}"))?;
    }
    // The head that is in use afterwards is the same in every round.
    running.adapt()?;
    let mut shares = Vec::new();
    for round in 1..=rounds {
        running.captions_so_far();
        std::thread::sleep(BETWEEN);
        let alone = running.captions_so_far() as f64 / BETWEEN.as_secs_f64();
        let began = Instant::now();
        running.adapt()?;
        let adapting = running.captions_so_far() as f64 / began.elapsed().as_secs_f64();
        println!("round {round:<12}{alone:>12.1}{adapting:>17.1}{:>13.2}", adapting / alone);
        shares.push(adapting / alone);
    }
    println!("{:18}{:>42.2}", "median", median(shares));
    Ok(())
}

/// A daemon, its captions, and where it is asked.
struct Running {
    child: Child,
    lines: Receiver<String>,
    address: SocketAddr,
    token: String,
}

impl Running {
    fn start(program: &Path, folder: &Path, bundle: &Path, rate: f64) -> anyhow::Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let (pictures, state) = (folder.join("pictures"), folder.join("state"));
        let config = folder.join("metalens.toml");
        let text = format!(
            "source = \"files:{}\"\nstate = {state:?}\nbundle = {bundle:?}\n[files]\nrate = {rate}\n\
             [caption]\nmin_change = 0\n[http]\nlisten = \"{address}\"\n",
            pictures.display()
        );
        std::fs::write(&config, text)?;
        let mut child = Command::new(program)
            .args(["run", "--log", "error", "--config"])
            .arg(&config)
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| program.display().to_string())?;
        let stdout = child.stdout.take().context("the daemon's output")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut running = Self { child, lines, address, token: String::new() };
        running.latency()?;
        running.token = std::fs::read_to_string(state.join("token"))?.trim().to_owned();
        Ok(running)
    }

    /// Of the next caption, in milliseconds.
    fn latency(&self) -> anyhow::Result<f64> {
        number(
            &self.lines.recv_timeout(Duration::from_secs(30)).context("no caption within 30 s")?,
            "latency_ms",
        )
    }

    fn captions_so_far(&self) -> usize {
        self.lines.try_iter().count()
    }

    fn change(&self, method: &str, path: &str, body: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        let (host, token, length) = (self.address, &self.token, body.len());
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        anyhow::ensure!(answer.starts_with("HTTP/1.1 2"), "{method} {path}: {answer}");
        Ok(answer)
    }

    /// Adapts, and waits for the end of it.
    fn adapt(&self) -> anyhow::Result<()> {
        self.change("POST", "/api/calibration", "{\"force\":true}")?;
        while self.change("GET", "/api/calibration", "")?.contains("\"adapting\":true") {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
