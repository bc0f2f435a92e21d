//! `metalens-trainer meta-train`.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use metalens::adaptation::Initialization;
use metalens::cli::{BundleArgument, say};
use metalens_models::{Bundle, Manifest, file, replace};
use metalens_trainer::export;
use metalens_trainer::meta::{Algorithm, Body, Learned, MetaConfig, MetaTrained, OuterConfig, meta_train};
use metalens_trainer::pretrain::RunFolder;

/// Meta-learns a bundle's head, and what calibration needs beside it, and writes a bundle that adapts.
#[derive(clap::Args)]
pub struct Arguments {
    /// The pre-trained bundle to start from.
    #[command(flatten)]
    bundle: BundleArgument,
    /// The configuration file.
    #[arg(long)]
    config: PathBuf,
    /// Take the evidence's weights from this bundle, which was meta-trained on a body that saw fewer pictures.
    #[arg(long, value_name = "DIR")]
    evidence_from: Option<PathBuf>,
    /// Let the body learn too, in the outer loop; then references and evidence are made for the new body. Its rate is
    /// outer.body_rate.
    #[arg(long)]
    body: bool,
    /// Where the outer loop is saved; the same command goes on from there. A folder of the configuration that was run.
    #[arg(long)]
    run: PathBuf,
    /// The new bundle's folder, which must not exist yet.
    #[arg(long)]
    out: PathBuf,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut config = super::meta_config(&arguments.config)?;
    let body = Body::open(&arguments.bundle.folder()?)?;
    if let Some(folder) = &arguments.evidence_from {
        let other = Bundle::open(folder)?;
        let numbers =
            other.manifest().inner_loop.as_ref().context("--evidence-from: was not meta-trained")?;
        let mut start = config.start(body.bundle())?;
        start.familiarity = start.familiarity.with_evidence_of(&numbers.familiarity);
        config.inner_loop = Some(start);
        anyhow::ensure!(
            config.evidence.is_none_or(|evidence| evidence.training == 0),
            "evidence.training: the weights come from --evidence-from; give 0"
        );
    }
    anyhow::ensure!(
        config.outer.algorithm != Algorithm::MetaSgd,
        "{}: outer.algorithm: meta-sgd learns a step size for each parameter, which no bundle holds; `compare` compares it",
        arguments.config.display()
    );
    anyhow::ensure!(
        !arguments.out.exists(),
        "{}: exists already; remove it, or name another folder",
        arguments.out.display()
    );
    config.outer.body |= arguments.body;
    anyhow::ensure!(
        !config.outer.body || config.places.is_some(),
        "{}: places: needed for a body to learn from",
        arguments.config.display()
    );
    let stop = super::stop_on_ctrl_c()?;
    let _held = claim(&arguments.run, &config, &body)?;
    let mut trained = meta_train(&body, &config, &arguments.run, &stop)?;
    let learned = with_learned_body(&body, &trained, &config, &arguments.run, &stop)?;
    let mut body = body;
    if let Some((new, again)) = learned {
        (body, trained) = (new, MetaTrained { losses: trained.losses, ..again });
    }
    let rows = trained.losses.iter().enumerate().map(|(step, loss)| format!("{},{loss:.4}\n", step + 1));
    let curve = arguments.run.join("curve.csv");
    std::fs::write(&curve, format!("outer_step,query_loss\n{}", rows.collect::<String>()))
        .with_context(|| curve.display().to_string())?;
    for (of, separation) in
        ["names of known words", "names of new things"].iter().zip(trained.separation.iter().flatten())
    {
        say(format_args!(
            "evidence on meta-validation, {of}: recall {:.3}, false {:.3}, F1 {:.3}",
            separation.recall, separation.false_share, separation.f1
        ))?;
    }
    let bundle = body.bundle();
    let mut files = files_of(bundle)?;
    files.insert(file::ADAPTATION.to_owned(), trained.references);
    let slots = bundle.manifest().special.slots.count;
    files.insert(file::HEAD.to_owned(), export::adapted_head(&body, &trained.initialization.head, slots)?);
    let mut training = bundle.manifest().training.clone();
    if let Some(training) = training.as_object_mut() {
        // Paths mean nothing elsewhere.
        let config = MetaConfig { things: PathBuf::new(), unseen: None, places: None, ..config.clone() };
        training.insert("meta".to_owned(), serde_json::to_value(&config)?);
    }
    let name =
        arguments.out.file_name().and_then(|name| name.to_str()).context("--out: not a folder's name")?;
    let manifest = Manifest {
        name: name.to_owned(),
        inner_loop: Some(trained.initialization.schedule.clone()),
        training,
        scores: BTreeMap::new(),
        ..bundle.manifest().clone()
    };
    let manifest = export::write_files(manifest, &files, &arguments.out)?;
    say(format_args!("{}: bundle {}", arguments.out.display(), manifest.id))?;
    say(serde_json::to_string_pretty(&manifest.inner_loop)?)?;
    Ok(())
}

fn files_of(bundle: &Bundle) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    bundle.manifest().files.keys().map(|name| Ok((name.clone(), bundle.read(name)?))).collect()
}

/// Where the body learned too, a bundle with it in the folder `body` of `run`, whatever was there; everything that the old body
/// looked at is looked at again.
pub(super) fn with_learned_body(
    body: &Body,
    trained: &MetaTrained,
    config: &MetaConfig,
    run: &Path,
    stop: &AtomicBool,
) -> anyhow::Result<Option<(Body, MetaTrained)>> {
    let Some(parameters) = trained.outer.as_ref().and_then(Learned::body) else { return Ok(None) };
    let out = run.join("body");
    if out.exists() {
        std::fs::remove_dir_all(&out).with_context(|| out.display().to_string())?;
    }
    let bundle = body.bundle();
    let mut files = files_of(bundle)?;
    files.extend(export::adapted_body(body, parameters)?);
    let slots = bundle.manifest().special.slots.count;
    let Initialization { head, schedule, .. } = &trained.initialization;
    files.insert(file::HEAD.to_owned(), export::adapted_head(body, head, slots)?);
    export::write_files(bundle.manifest().clone(), &files, &out)?;
    let body = Body::open(&out)?;
    let outer = OuterConfig { iterations: 0, body: false, ..config.outer };
    let again = MetaConfig { outer, inner_loop: Some(schedule.clone()), ..config.clone() };
    let trained = meta_train(&body, &again, run, stop)?;
    Ok(Some((body, trained)))
}

/// A run's folder belongs to one configuration and one bundle, from when something was learned there, and to one trainer as long as
/// what is returned lives.
pub(super) fn claim(folder: &Path, config: &MetaConfig, body: &Body) -> anyhow::Result<File> {
    const MARK: &str = "meta.json";
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let held = RunFolder(folder.to_owned()).hold()?;
    let path = folder.join(MARK);
    let mine = serde_json::json!({ "bundle": body.bundle().manifest().id, "config": config });
    let mine = serde_json::to_string_pretty(&mine)? + "\n";
    let found = std::fs::read_to_string(&path).ok();
    if found.as_ref() == Some(&mine) {
        return Ok(held);
    }
    let mut files = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let is_new = files.all(|file| file.is_ok_and(|file| file.file_name() == MARK));
    anyhow::ensure!(
        is_new || found.is_none(),
        "{}: is of another configuration or bundle; name another --run, or remove it",
        path.display()
    );
    anyhow::ensure!(is_new, "{}: holds other files; name another --run", folder.display());
    replace(&path, mine.as_bytes())?;
    Ok(held)
}
