//! Scoring files of captions.

use std::collections::HashMap;
use std::path::Path;

use metalens::language::lines;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Sample, ScoreError, Scores, score};

#[derive(Deserialize)]
struct Hypothesis {
    id: String,
    caption: String,
}

#[derive(Deserialize)]
struct ReferenceLine {
    id: String,
    captions: Vec<String>,
}

/// Scores hypotheses, lines `{"id": …, "caption": …}`, against references, lines `{"id": …, "captions": […]}`.
///
/// # Errors
/// When a file cannot be read, a line is malformed, an id stands twice, or the files are not about the same pictures.
pub fn score_files(hypotheses: &Path, references: &Path) -> Result<Scores, ScoreError> {
    let (captions, order) = by_id(hypotheses, |line: Hypothesis| (line.id, line.caption))?;
    let (mut known, reference_order) = by_id(references, |line: ReferenceLine| (line.id, line.captions))?;
    unmatched(hypotheses, references, &order, &known)?;
    unmatched(references, hypotheses, &reference_order, &captions)?;
    let mut captions = captions;
    let samples: Vec<Sample> = order
        .into_iter()
        .filter_map(|id| Some((captions.remove(&id)?, known.remove(&id)?, id)))
        .map(|(hypothesis, references, id)| {
            if references.is_empty() {
                return Err(ScoreError::NoReference(id));
            }
            Ok(Sample { hypothesis, references })
        })
        .collect::<Result<_, _>>()?;
    score(&samples)
}

/// Values by id, and the ids in the order of the file.
type ById<V> = (HashMap<String, V>, Vec<String>);

fn by_id<T: DeserializeOwned, V>(
    path: &Path,
    entry: impl Fn(T) -> (String, V),
) -> Result<ById<V>, ScoreError> {
    let name = || path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| ScoreError::Unreadable { path: name(), reason: error.to_string() })?;
    let (mut map, mut order) = (HashMap::new(), Vec::new());
    for (line, text) in lines(&text) {
        let parsed = serde_json::from_str(text).map_err(|error| ScoreError::Line {
            path: name(),
            line,
            reason: error.to_string(),
        })?;
        let (id, value) = entry(parsed);
        order.push(id.clone());
        if map.insert(id.clone(), value).is_some() {
            return Err(ScoreError::Twice { path: name(), line, id });
        }
    }
    Ok((map, order))
}

fn unmatched<T>(
    path: &Path,
    other: &Path,
    ids: &[String],
    others: &HashMap<String, T>,
) -> Result<(), ScoreError> {
    let missing: Vec<&String> = ids.iter().filter(|id| !others.contains_key(*id)).collect();
    match missing.first() {
        None => Ok(()),
        Some(first) => Err(ScoreError::Unmatched {
            path: path.display().to_string(),
            other: other.display().to_string(),
            count: missing.len(),
            first: (*first).clone(),
        }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn error(hypotheses: &str, references: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (h, r) = (write("h.jsonl", hypotheses), write("r.jsonl", references));
        score_files(&h, &r).unwrap_err().to_string()
    }

    const H: &str = "{\"id\": \"1\", \"caption\": \"a dog\"}\n";
    const R: &str = "{\"id\": \"1\", \"captions\": [\"a dog\"]}\n";

    #[test]
    fn each_way_to_be_wrong_has_its_own_line() {
        assert!(error("{\"id\": 1}\n", R).contains("h.jsonl:1: "));
        assert!(error(&format!("\u{feff}{H}\n{H}"), R).contains("h.jsonl:3: id 1 stands twice"));
        let two = format!("{H}{}", H.replace('1', "2"));
        assert!(error(&two, R).contains("1 ids of"));
        assert!(error(&two, R).contains("missing from") && error(&two, R).contains("first is 2"));
        let two = format!("{R}{}", R.replace('1', "2"));
        assert!(error(H, &two).contains("r.jsonl are missing from"));
        assert!(error(H, "{\"id\": \"1\", \"captions\": []}").contains("picture 1 has no reference"));
        assert_eq!(error("", ""), "no captions to score");
        let missing = score_files(Path::new("no/such.jsonl"), Path::new("r")).unwrap_err().to_string();
        assert!(missing.starts_with("no/such.jsonl: "));
    }
}
