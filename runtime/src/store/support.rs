//! The support set: the samples on which the head is calibrated, as they were given.
//!
//! A picture is written before its caption and removed after it, so that no caption ever stands there without its
//! picture. A picture without a caption, which a power cut may leave, is no sample.

use std::io;
use std::path::{Path, PathBuf};

use metalens_models::replace_on;

use super::error::io_error;
use super::names::{CAPTIONS, is_plain, one_line, plain, unique};
use super::{State, StateError, StateReader};
use crate::language::lines;

/// A sample that is to be kept.
#[derive(Clone, Copy, Debug)]
pub struct NewSample<'a> {
    /// The picture's file name, or a path of which the last part counts.
    pub name: &'a str,
    /// The picture's file.
    pub bytes: &'a [u8],
    /// One or more.
    pub captions: &'a [String],
}

/// A sample that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The name under which it is kept.
    pub name: String,
    /// The picture's file.
    pub path: PathBuf,
    /// One or more, in the order in which they were given.
    pub captions: Vec<String>,
}

impl StateReader {
    /// The samples, in the order in which they were given.
    ///
    /// # Errors
    /// When `captions.tsv` cannot be read, or has a line that names no sample.
    pub fn samples(&self) -> Result<Vec<Sample>, StateError> {
        let folder = self.support();
        let path = folder.join(CAPTIONS);
        match std::fs::read_to_string(&path) {
            Ok(text) => parse(&text, &folder),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(io_error(&path)(source)),
        }
    }
}

impl State {
    /// The samples, as [`StateReader::samples`].
    ///
    /// # Errors
    /// As there.
    pub fn samples(&self) -> Result<Vec<Sample>, StateError> {
        self.reader.samples()
    }

    /// Keeps a sample beside those that are kept, and tells the name under which that is. Another picture of the same
    /// name stays; the captions of the same picture are replaced.
    ///
    /// # Errors
    /// When it has no caption or cannot be written; the samples are then what they were.
    pub fn keep_sample(&mut self, sample: &NewSample<'_>) -> Result<String, StateError> {
        let name = stored_name(&self.reader.support(), sample)?;
        let mut samples = self.samples()?;
        samples.retain(|kept| kept.name != name);
        self.write_samples(samples, &[*sample])?;
        Ok(name)
    }

    /// Keeps these samples, and none of those that were kept.
    ///
    /// # Errors
    /// When one has no caption or cannot be written; the samples are then what they were.
    pub fn replace_samples(&mut self, new: &[NewSample<'_>]) -> Result<(), StateError> {
        let before = self.samples()?;
        let samples = self.write_samples(Vec::new(), new)?;
        for old in before.iter().filter(|old| !samples.iter().any(|sample| sample.name == old.name)) {
            // It is no sample any more; its file costs room, and nothing else.
            let _ = self.disk.remove(&old.path);
        }
        Ok(())
    }

    /// Removes a sample and its picture.
    ///
    /// # Errors
    /// When there is none of that name, or it cannot be removed.
    pub fn remove_sample(&mut self, name: &str) -> Result<(), StateError> {
        let mut samples = self.samples()?;
        let Some(place) = samples.iter().position(|sample| sample.name == name) else {
            let path = self.reader.support().join(CAPTIONS);
            return Err(StateError::NoSample { path, name: name.to_owned() });
        };
        let removed = samples.remove(place);
        self.write_captions(&samples)?;
        match self.disk.remove(&removed.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(&removed.path)(error)),
            _ => Ok(()),
        }
    }

    /// Writes the pictures of `new`, and then the captions of all.
    fn write_samples(
        &self,
        mut samples: Vec<Sample>,
        new: &[NewSample<'_>],
    ) -> Result<Vec<Sample>, StateError> {
        let mut written = Vec::new();
        let write = || {
            for sample in new {
                let kept = self.write_picture(sample, &mut written)?;
                match samples.iter_mut().find(|other| other.name == kept.name) {
                    Some(same) => same.captions.extend(kept.captions),
                    None => samples.push(kept),
                }
            }
            self.write_captions(&samples)?;
            Ok(samples)
        };
        let result = write();
        if let (Err(_), Ok(samples)) = (&result, self.samples()) {
            for path in written.iter().filter(|path| !samples.iter().any(|sample| sample.path == **path)) {
                // The error that is told is the one that stopped the writing.
                let _ = self.disk.remove(path);
            }
        }
        result
    }

    fn write_picture(
        &self,
        sample: &NewSample<'_>,
        written: &mut Vec<PathBuf>,
    ) -> Result<Sample, StateError> {
        let captions: Vec<String> = sample.captions.iter().map(|caption| one_line(caption)).collect();
        let captions: Vec<String> = captions.into_iter().filter(|caption| !caption.is_empty()).collect();
        if captions.is_empty() {
            return Err(StateError::NoCaption(sample.name.to_owned()));
        }
        let folder = self.reader.support();
        let name = stored_name(&folder, sample)?;
        let path = folder.join(&name);
        if !std::fs::read(&path).is_ok_and(|found| found == sample.bytes) {
            written.push(path.clone());
            replace_on(&*self.disk, &path, sample.bytes)?;
        }
        Ok(Sample { name, path, captions })
    }

    fn write_captions(&self, samples: &[Sample]) -> Result<(), StateError> {
        let lines = samples
            .iter()
            .flat_map(|sample| sample.captions.iter().map(|caption| format!("{}\t{caption}\n", sample.name)));
        let text: String = lines.collect();
        Ok(replace_on(&*self.disk, &self.reader.support().join(CAPTIONS), text.as_bytes())?)
    }
}

/// The picture's own name, unless another picture has it.
fn stored_name(folder: &Path, sample: &NewSample<'_>) -> Result<String, StateError> {
    let name = plain(sample.name);
    let path = folder.join(&name);
    match std::fs::read(&path) {
        Ok(found) if found != sample.bytes => Ok(unique(&name, sample.bytes)),
        Ok(_) => Ok(name),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(name),
        Err(source) => Err(io_error(&path)(source)),
    }
}

fn parse(text: &str, folder: &Path) -> Result<Vec<Sample>, StateError> {
    let mut samples: Vec<Sample> = Vec::new();
    for (line, content) in lines(text) {
        let parts = content.split_once('\t').map(|(name, caption)| (name.trim(), caption.trim()));
        let Some((name, caption)) = parts.filter(|(name, caption)| is_plain(name) && !caption.is_empty())
        else {
            return Err(StateError::Malformed { path: folder.join(CAPTIONS), line });
        };
        match samples.iter_mut().find(|sample| sample.name == name) {
            Some(sample) => sample.captions.push(caption.to_owned()),
            None => samples.push(Sample {
                name: name.to_owned(),
                path: folder.join(name),
                captions: vec![caption.to_owned()],
            }),
        }
    }
    Ok(samples)
}
