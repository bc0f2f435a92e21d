//! Opening a bundle.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::{
    BundleId, FORMAT_VERSION, MAX_CONCEPTS, Manifest, Shapes, Sources, SourcesError, Vocabulary,
    VocabularyError,
};

/// Names of a bundle's files.
pub mod file {
    /// Sizes, hashes and everything else.
    pub const MANIFEST: &str = "manifest.json";
    /// Picture to visual tokens.
    pub const ENCODER: &str = "encoder.onnx";
    /// One decoder step.
    pub const DECODER: &str = "decoder.onnx";
    /// Features to logits.
    pub const HEAD: &str = "head.onnx";
    /// What calibration needs beside the head; only in bundles that were meta-learned.
    pub const ADAPTATION: &str = "adaptation.safetensors";
    /// Picture to log-odds of words; only in bundles with concepts.
    pub const EVIDENCE: &str = "evidence.safetensors";
    /// The word and the source of each kind of evidence; only in bundles with concepts.
    pub const CONCEPTS: &str = "concepts.txt";
    /// Picture to things; only in bundles that carry it.
    pub const DETECTOR: &str = "detector.onnx";
    /// One word a line.
    pub const VOCABULARY: &str = "vocabulary.txt";
    /// For people; not hashed.
    pub const MODEL_CARD: &str = "MODEL_CARD.md";
}

/// Files that every bundle has.
const REQUIRED: [&str; 4] = [file::ENCODER, file::DECODER, file::HEAD, file::VOCABULARY];

/// Why a bundle is refused.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The bundle's folder does not exist.
    #[error("{path}: no such folder; give the folder of a bundle with --bundle", path = .0.display())]
    NoFolder(PathBuf),
    /// A file was given where the bundle's folder belongs.
    #[error("{path}: a file, not the folder of a bundle", path = .0.display())]
    NotAFolder(PathBuf),
    /// A file of the bundle is missing.
    #[error("{path}: missing from the bundle; copy the bundle again", path = .0.display())]
    Missing(PathBuf),
    /// A folder lies where a file of the bundle belongs.
    #[error("{path}: a folder, where a file of the bundle belongs; copy the bundle again", path = .0.display())]
    Folder(PathBuf),
    /// A file of the bundle cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The manifest is no JSON of the right form.
    #[error("{path}: {reason}", path = path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong, with line and column.
        reason: String,
    },
    /// The bundle is of another format version.
    #[error("{path}: format version {found}; this program reads {FORMAT_VERSION}; use the bundle of this program's release, or export yours again with its metalens-trainer", path = path.display())]
    Format {
        /// The manifest.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
    /// The manifest does not list a file that every bundle has, or one that was asked for.
    #[error("{path}: does not list {name}", path = path.display())]
    Unlisted {
        /// The manifest.
        path: PathBuf,
        /// The file.
        name: String,
    },
    /// The manifest's id does not follow from the rest of it.
    #[error("{path}: id {found}, but the rest of it makes {expected}; the manifest was changed, copy the bundle again", path = path.display())]
    Id {
        /// The manifest.
        path: PathBuf,
        /// The id that stands there.
        found: BundleId,
        /// The id that follows from the rest.
        expected: BundleId,
    },
    /// Two fields of the manifest contradict each other.
    #[error("{path}: {field} is {found}, but {expected} follows from the other sizes", path = path.display())]
    Shape {
        /// The manifest.
        path: PathBuf,
        /// The field.
        field: &'static str,
        /// Its value.
        found: usize,
        /// What follows from the others.
        expected: usize,
    },
    /// Some of what belongs to concepts is there, and some is not.
    #[error("{path}: {found}, but {lacking}; a bundle has all of concepts or nothing of them", path = path.display())]
    Concepts {
        /// The manifest.
        path: PathBuf,
        /// What is there.
        found: &'static str,
        /// What is not.
        lacking: &'static str,
    },
    /// The decoder takes more concepts than this program keeps account of.
    #[error("{path}: shapes.concepts is {found}, {MAX_CONCEPTS} at most", path = path.display())]
    TooManyConcepts {
        /// The manifest.
        path: PathBuf,
        /// Its number.
        found: usize,
    },
    /// The sources of evidence contradict the vocabulary, the manifest or themselves.
    #[error("{path}: {source}", path = path.display())]
    Sources {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: SourcesError,
    },
    /// A file has another size than the manifest says.
    #[error("{path}: {found} bytes, the manifest says {expected}; copy the bundle again", path = path.display())]
    Size {
        /// The file.
        path: PathBuf,
        /// Its size.
        found: u64,
        /// The manifest's.
        expected: u64,
    },
    /// A file's hash is not the manifest's.
    #[error("{path}: sha256 {found}, the manifest says {expected}; copy the bundle again", path = path.display())]
    Hash {
        /// The file.
        path: PathBuf,
        /// Its hash.
        found: String,
        /// The manifest's.
        expected: String,
    },
    /// The vocabulary contradicts the manifest or itself.
    #[error("{path}: {source}", path = path.display())]
    Vocabulary {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: VocabularyError,
    },
}

/// A bundle whose manifest has been checked.
#[derive(Clone, Debug)]
pub struct Bundle {
    folder: PathBuf,
    manifest: Manifest,
}

impl Bundle {
    /// Reads and checks the manifest of the bundle in `folder`; the files are checked when they are read.
    ///
    /// # Errors
    /// When the folder is none, the manifest is missing or malformed, of another format version, or contradicts itself.
    pub fn open(folder: &Path) -> Result<Self, BundleError> {
        match folder.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(BundleError::NoFolder(folder.to_owned()));
            }
            Err(source) => return Err(io_error(folder, source)),
            Ok(metadata) if !metadata.is_dir() => return Err(BundleError::NotAFolder(folder.to_owned())),
            Ok(_) => {}
        }
        let path = folder.join(file::MANIFEST);
        let text = std::fs::read(&path).map_err(|source| io_error(&path, source))?;
        let manifest = parse(&text, &path)?;
        check(&manifest, &path)?;
        Ok(Self { folder: folder.to_owned(), manifest })
    }

    /// What the bundle says of itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Where the bundle lies.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The bytes of a file, once their size and hash are what the manifest says.
    ///
    /// # Errors
    /// When the file is not listed, missing, unreadable, or not what the manifest says; the message names both values.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, BundleError> {
        let path = self.folder.join(name);
        let entry = self.manifest.files.get(name).ok_or_else(|| BundleError::Unlisted {
            path: self.folder.join(file::MANIFEST),
            name: name.to_owned(),
        })?;
        let mut opened = File::open(&path).map_err(|source| io_error(&path, source))?;
        let metadata = opened.metadata().map_err(|source| io_error(&path, source))?;
        if metadata.is_dir() {
            return Err(BundleError::Folder(path));
        }
        let found = metadata.len();
        let mut data = Vec::new();
        if found == entry.bytes {
            // A size that the manifest confirms is safe to reserve.
            data.reserve_exact(found as usize);
            opened.read_to_end(&mut data).map_err(|source| io_error(&path, source))?;
        }
        if data.len() as u64 != entry.bytes {
            let found = if data.is_empty() { found } else { data.len() as u64 };
            return Err(BundleError::Size { path, found, expected: entry.bytes });
        }
        let found = hexadecimal(&Sha256::digest(&data));
        if found != entry.sha256 {
            return Err(BundleError::Hash { path, found, expected: entry.sha256.clone() });
        }
        Ok(data)
    }

    /// The checked vocabulary.
    ///
    /// # Errors
    /// As [`Self::read`], and when the words contradict the manifest.
    pub fn vocabulary(&self) -> Result<Vocabulary, BundleError> {
        let text = self.read(file::VOCABULARY)?;
        Vocabulary::parse(&text, self.manifest.shapes.vocabulary, self.manifest.special)
            .map_err(|source| BundleError::Vocabulary { path: self.folder.join(file::VOCABULARY), source })
    }

    /// The checked sources of evidence for words of the bundle's `vocabulary`; none in a bundle without concepts.
    ///
    /// # Errors
    /// As [`Self::read`], and when a line is no source, or its word none of the vocabulary.
    pub fn sources(&self, vocabulary: &Vocabulary) -> Result<Option<Sources>, BundleError> {
        let Manifest { shapes, evidence: Some(_), detector, .. } = &self.manifest else { return Ok(None) };
        let text = self.read(file::CONCEPTS)?;
        let things = detector.as_ref().map_or(0, |detector| detector.things);
        Sources::parse(&text, vocabulary, shapes.classes, things)
            .map(Some)
            .map_err(|source| BundleError::Sources { path: self.folder.join(file::CONCEPTS), source })
    }
}

/// The version is looked at first: a manifest of another version may have other fields.
fn parse(text: &[u8], path: &Path) -> Result<Manifest, BundleError> {
    #[derive(serde::Deserialize)]
    struct Version {
        format: u64,
    }
    let malformed =
        |error: serde_json::Error| BundleError::Manifest { path: path.to_owned(), reason: error.to_string() };
    let Version { format } = serde_json::from_slice(text).map_err(malformed)?;
    if format != u64::from(FORMAT_VERSION) {
        return Err(BundleError::Format { path: path.to_owned(), found: format });
    }
    serde_json::from_slice(text).map_err(malformed)
}

fn check(manifest: &Manifest, path: &Path) -> Result<(), BundleError> {
    let golden = manifest.golden.picture.as_str();
    for name in REQUIRED.into_iter().chain([golden]) {
        if !manifest.files.contains_key(name) {
            return Err(BundleError::Unlisted { path: path.to_owned(), name: name.to_owned() });
        }
    }
    let Shapes { state, token, word, feature, .. } = manifest.shapes;
    if feature != state + token + word {
        return Err(BundleError::Shape {
            path: path.to_owned(),
            field: "shapes.feature",
            found: feature,
            expected: state + token + word,
        });
    }
    check_concepts(manifest, path)?;
    let expected = BundleId::of(manifest);
    if expected != manifest.id {
        return Err(BundleError::Id { path: path.to_owned(), found: manifest.id.clone(), expected });
    }
    Ok(())
}

/// A bundle has all that belongs to concepts, or nothing of it.
fn check_concepts(manifest: &Manifest, path: &Path) -> Result<(), BundleError> {
    let Shapes { phi, classes, concepts, .. } = manifest.shapes;
    let lists = |name: &str| manifest.files.contains_key(name);
    let parts = [
        (manifest.evidence.is_some(), "it has evidence", "it has no evidence"),
        (concepts > 0, "shapes.concepts is there", "shapes.concepts is none"),
        (phi > 0, "shapes.phi is there", "shapes.phi is none"),
        (lists(file::EVIDENCE), "it lists evidence.safetensors", "it does not list evidence.safetensors"),
        (lists(file::CONCEPTS), "it lists concepts.txt", "it does not list concepts.txt"),
    ];
    let there = parts.iter().find(|(there, ..)| *there);
    let contradiction = |found, lacking| BundleError::Concepts { path: path.to_owned(), found, lacking };
    if let (Some((_, found, _)), Some((.., lacking))) = (there, parts.iter().find(|(there, ..)| !there)) {
        return Err(contradiction(found, lacking));
    }
    if classes > 0 && there.is_none() {
        return Err(contradiction("shapes.classes is there", "it has no evidence"));
    }
    match (manifest.detector.is_some(), lists(file::DETECTOR)) {
        (true, _) if there.is_none() => return Err(contradiction("it has a detector", "it has no evidence")),
        (true, false) => return Err(contradiction("it has a detector", "it does not list detector.onnx")),
        (false, true) => return Err(contradiction("it lists detector.onnx", "it has no detector")),
        _ => {}
    }
    if concepts > MAX_CONCEPTS {
        return Err(BundleError::TooManyConcepts { path: path.to_owned(), found: concepts });
    }
    Ok(())
}

fn io_error(path: &Path, source: io::Error) -> BundleError {
    match source.kind() {
        io::ErrorKind::NotFound => BundleError::Missing(path.to_owned()),
        _ => BundleError::Io { path: path.to_owned(), source },
    }
}

/// Bytes in lower-case hexadecimal.
#[must_use]
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
