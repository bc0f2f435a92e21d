//! `metalens doctor`.

use std::path::PathBuf;

use metalens_firmware_config::Config;
use metalens_models::{Bundle, file};

use super::{BundleArgument, Outcome, say};
use crate::store::{StateError, StateReader};
use crate::{Captioner, Options, camera, vision};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    bundle: BundleArgument,
    /// A configuration of the daemon to check as well; it may name the bundle.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Processors round differently; a caption's log-probability may differ by so much from the one in the manifest.
const TOLERANCE: f32 = 1e-2;

/// Where the kernel says which board this is.
const MODEL: &str = "/proc/device-tree/model";

/// One thing that was looked at.
#[derive(serde::Serialize)]
struct Check {
    check: String,
    ok: bool,
    /// What was found; what to do where it is wrong.
    detail: String,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let mut checks = Vec::new();
    let mut check = |name: &str, result: Result<String, String>| {
        let ok = result.is_ok();
        let detail = result.unwrap_or_else(|error| error);
        checks.push(Check { check: name.to_owned(), ok, detail });
        ok
    };
    let config = arguments.config.as_ref().map(|path| Config::read(path));
    let named = match &config {
        Some(Ok(config)) => {
            installation(config, &mut check);
            config.bundle.clone()
        }
        Some(Err(error)) => {
            check("configuration", Err(error.to_string().replace('\n', "; ")));
            None
        }
        None => None,
    };
    let folder = match named {
        Some(named) if !arguments.bundle.is_given() => named,
        _ => arguments.bundle.folder()?,
    };
    let opened = Bundle::open(&folder);
    let summary = opened.as_ref().map_err(ToString::to_string);
    let summary = summary.map(|bundle| format!("{} {}", bundle.manifest().name, bundle.manifest().id));
    check(file::MANIFEST, summary);
    if let Ok(bundle) = &opened {
        let mut whole = true;
        for (name, entry) in &bundle.manifest().files {
            let read = bundle.read(name).map_err(|error| error.to_string());
            whole &= check(name, read.map(|_| format!("{} bytes, sha256 as in the manifest", entry.bytes)));
        }
        if whole {
            let loaded =
                Captioner::from_bundle(bundle, Options::default()).map_err(|error| error.to_string());
            let (captioner, result) = match loaded {
                Ok(captioner) => (Some(captioner), Ok("loaded, with the manifest's shapes".to_owned())),
                Err(error) => (None, Err(error)),
            };
            check("graphs", result);
            if let Some(mut captioner) = captioner {
                check("golden caption", golden(bundle, &mut captioner));
            }
        }
    }
    let all = checks.iter().all(|check| check.ok);
    if arguments.json {
        say(serde_json::to_string(&serde_json::json!({ "ok": all, "checks": checks }))?)?;
    } else {
        for Check { check, ok, detail } in &checks {
            say(format_args!("{:6} {check}: {detail}", if *ok { "ok" } else { "FAILED" }))?;
        }
    }
    match checks.iter().find(|check| !check.ok) {
        None => Ok(Outcome::Done),
        Some(Check { check, detail, .. }) => anyhow::bail!("{check}: {detail}"),
    }
}

/// What of a configuration can be checked without starting anything.
fn installation(config: &Config, check: &mut impl FnMut(&str, Result<String, String>) -> bool) {
    check("configuration", Ok(format!("captions {}", config.source)));
    let source = camera::source(config).map_err(|error| error.to_string());
    check("source", source.map(|_| "this program can read it".to_owned()));
    let model = std::fs::read_to_string(MODEL).unwrap_or_default();
    let model = model.trim_end_matches('\0');
    let profile = &config.profile;
    check(
        "profile",
        if model.is_empty() || profile.fits(model) {
            Ok(profile.name.clone())
        } else {
            Err(format!(
                "{} is for {}, and this is a {model}; choose another",
                profile.name,
                profile.boards.join(", ")
            ))
        },
    );
    let state = match StateReader::open(&config.state) {
        Ok(state) => state.samples().map(|samples| format!("{} samples", samples.len())),
        Err(StateError::NoFolder(_)) => Ok("made at the first start".to_owned()),
        Err(error) => Err(error),
    };
    check("state", state.map_err(|error| error.to_string()));
}

/// Captions the bundle's own picture and compares with what the manifest says of it.
fn golden(bundle: &Bundle, captioner: &mut Captioner) -> Result<String, String> {
    let golden = &bundle.manifest().golden;
    let bytes = bundle.read(&golden.picture).map_err(|error| error.to_string())?;
    let picture = vision::decode(&bytes).map_err(|error| format!("{}: {error}", golden.picture))?;
    let caption = captioner.caption(&picture).map_err(|error| error.to_string())?;
    let (text, expected) = (caption.text(), &golden.caption);
    if text != *expected {
        return Err(format!("says {text:?}, the manifest {expected:?}"));
    }
    let (found, expected) = (caption.log_probability, golden.log_probability);
    if (found - expected).abs() > TOLERANCE {
        return Err(format!("{text:?} has log-probability {found:.4}, in the manifest {expected:.4}"));
    }
    Ok(format!("{text:?}, log-probability {found:.4} ({expected:.4} in the manifest)"))
}
