//! The evidence of a bundle: `evidence.safetensors`, `concepts.txt` and their settings.

use metalens_models::{Bundle, Manifest, Sources, TokenId, Vocabulary, file};
use ndarray::{Array1, Array2, ArrayView1};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::{Concept, Forms, Settings, select};
use crate::CaptionerError;
use crate::language::Required;

/// Names of the tensors in `evidence.safetensors`, in f32 or f16.
pub mod tensor {
    /// `[rows, phi]`.
    pub const WEIGHT: &str = "evidence.weight";
    /// `[rows]`.
    pub const BIAS: &str = "evidence.bias";
}

/// Turns what the encoder and the detector make of a picture into concepts.
pub struct Evidence {
    weight: Array2<f32>,
    bias: Array1<f32>,
    sources: Sources,
    settings: Settings,
    most: usize,
    forms: Forms,
}

/// Why evidence cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}", path = path.display())]
pub struct EvidenceError {
    path: std::path::PathBuf,
    reason: String,
}

impl Evidence {
    /// The evidence of a bundle with this vocabulary; none of one without concepts.
    ///
    /// # Errors
    /// When a file is refused, or its shapes are not those of the manifest and of the sources.
    pub fn load(bundle: &Bundle, vocabulary: &Vocabulary) -> Result<Option<Self>, CaptionerError> {
        let Manifest { evidence: Some(settings), shapes, .. } = bundle.manifest() else { return Ok(None) };
        let Some(sources) = bundle.sources(vocabulary)? else { return Ok(None) };
        let bytes = bundle.read(file::EVIDENCE)?;
        let wrong = |reason: String| EvidenceError { path: bundle.folder().join(file::EVIDENCE), reason };
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| wrong(error.to_string()))?;
        let take = |name: &str, shape: &[usize]| {
            let view = tensors.tensor(name).map_err(|_| wrong(format!("{name} is missing")))?;
            if view.shape() != shape {
                let found = view.shape();
                return Err(wrong(format!(
                    "{name} has shape {found:?}, but {shape:?} follows from concepts.txt and the manifest"
                )));
            }
            numbers(&view)
                .ok_or_else(|| wrong(format!("{name} is of type {:?}, neither F16 nor F32", view.dtype())))
        };
        let (rows, phi) = (sources.captions.len(), shapes.phi);
        let weight = Array2::from_shape_vec((rows, phi), take(tensor::WEIGHT, &[rows, phi])?)
            .map_err(|error| wrong(error.to_string()))?;
        let bias = Array1::from_vec(take(tensor::BIAS, &[rows])?);
        let forms = Forms::new(vocabulary);
        Ok(Some(Self { weight, bias, sources, settings: *settings, most: shapes.concepts, forms }))
    }

    /// The log-odds e = E phi + b of the words of captions, `[rows]`, for `phi` `[phi]`.
    ///
    /// # Panics
    /// When phi has another width than the manifest says.
    #[must_use]
    pub fn log_odds(&self, phi: &[f32]) -> Array1<f32> {
        self.weight.dot(&ArrayView1::from(phi)) + &self.bias
    }

    /// What the decoder is to read beside a picture's visual tokens, at most as many as it takes: `phi` and the logits of classes
    /// are the encoder's, `things` the highest score of each of the detector's things.
    #[must_use]
    pub fn concepts(
        &self,
        phi: Option<&[f32]>,
        classes: Option<&[f32]>,
        things: Option<&[f32]>,
    ) -> Vec<Concept> {
        let evidence = phi.map(|phi| self.log_odds(phi));
        let evidence = evidence.as_ref().and_then(|evidence| evidence.as_slice());
        let mut concepts = select(&self.sources, &self.settings, evidence, classes, things);
        concepts.truncate(self.most);
        concepts
    }

    /// What makes a concept.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The word for a class of the detector's, where it has one; of several the last, which is the noun.
    #[must_use]
    pub fn thing(&self, class: usize) -> Option<TokenId> {
        self.sources.things.iter().rfind(|(_, thing)| *thing == class).map(|(word, _)| *word)
    }

    /// Whether these words are one but for their number.
    pub(crate) fn are_one_word(&self, a: TokenId, b: TokenId) -> bool {
        self.forms.are_one_word(a, b)
    }

    /// A picture's concepts where a `new` word is to be said of it: it takes the place of the known word that it is put for, in
    /// singular and plural, and is as sure as that was, where that is more.
    #[must_use]
    pub fn with_new_word(&self, concepts: &[Concept], new: Concept, known: TokenId) -> Vec<Concept> {
        let (replaced, mut kept): (Vec<Concept>, Vec<Concept>) =
            concepts.iter().partition(|concept| self.forms.are_one_word(concept.word, known));
        let confidence = replaced.iter().map(|concept| concept.confidence).fold(new.confidence, f32::max);
        kept.truncate(self.most.saturating_sub(1));
        let place = kept.partition_point(|concept| concept.confidence >= confidence);
        kept.insert(place, Concept { confidence, ..new });
        kept
    }

    /// What is required of the search, strongest first: concepts of enough confidence of which none of the captions that it `found`
    /// says a form; of several forms of one word the strongest.
    pub(crate) fn required<'a>(
        &'a self,
        concepts: &'a [Concept],
        found: impl Iterator<Item = &'a [TokenId]> + Clone + 'a,
    ) -> impl Iterator<Item = Required> + 'a {
        let required = move |(place, concept): &(usize, &Concept)| {
            let is_form = |stronger: &Concept| self.forms.are_of_one(stronger.word, concept.word);
            concept.confidence >= self.settings.required && !concepts[..*place].iter().any(is_form)
        };
        let sure = concepts.iter().enumerate().filter(required).map(|(_, concept)| concept);
        let says = move |words: &[TokenId], concept: TokenId| {
            words.iter().any(|&word| self.forms.are_of_one(word, concept))
        };
        let unsaid = sure.filter(move |concept| !found.clone().any(|words| says(words, concept.word)));
        unsaid.map(|concept| {
            let confidence = concept.confidence.clamp(f32::EPSILON, 1.0 - f32::EPSILON);
            Required { word: concept.word, log_odds: (confidence / (1.0 - confidence)).ln() }
        })
    }
}

/// The numbers of a tensor of halves or singles.
fn numbers(view: &TensorView) -> Option<Vec<f32>> {
    match view.dtype() {
        Dtype::F32 => Some(view.data().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()),
        Dtype::F16 => {
            Some(view.data().as_chunks().0.iter().map(|&b| half::f16::from_le_bytes(b).to_f32()).collect())
        }
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use metalens_models::{CaptionEvidence, ClassEvidence, SlotRange, SpecialTokens, ThingEvidence};

    use super::*;

    /// Evidence for zebra, zebras, man, people and tree, and five concepts at most.
    fn evidence() -> (Evidence, [TokenId; 5]) {
        let special = SpecialTokens {
            padding: TokenId(0),
            start: TokenId(1),
            end: TokenId(2),
            unknown: TokenId(3),
            slots: SlotRange { first: TokenId(9), count: 0 },
        };
        let text = "<p>\n<s>\n<e>\n<u>\nzebra\nzebras\nman\npeople\ntree";
        let vocabulary = Vocabulary::parse(text.as_bytes(), 9, special).unwrap();
        let evidence = Evidence {
            weight: Array2::zeros((0, 1)),
            bias: Array1::zeros(0),
            sources: Sources::default(),
            settings: Settings {
                captions: CaptionEvidence { most: 8, at_least: 0.1 },
                classes: ClassEvidence { at_least: 0.25, share: 0.8 },
                things: ThingEvidence { at_least: 0.35 },
                required: 0.8,
            },
            most: 5,
            forms: Forms::new(&vocabulary),
        };
        (evidence, [4, 5, 6, 7, 8].map(TokenId))
    }

    #[test]
    fn a_new_word_takes_the_place_of_the_word_that_it_is_put_for_and_of_its_forms() {
        let (evidence, [zebra, zebras, man, people, tree]) = evidence();
        let concept = |word, confidence| Concept { word, confidence };
        let concepts = [concept(man, 0.9), concept(zebra, 0.7), concept(tree, 0.6), concept(zebras, 0.2)];
        let new = |confidence| concept(TokenId(9), confidence);
        assert_eq!(
            evidence.with_new_word(&concepts, new(0.5), zebras),
            [concept(man, 0.9), new(0.7), concept(tree, 0.6)]
        );
        // What is not among them is put there, and is as sure as it is.
        assert_eq!(
            evidence.with_new_word(&concepts[2..], new(0.65), people),
            [new(0.65), concept(tree, 0.6), concept(zebras, 0.2)]
        );
        // People are several, and the new word is there however many there are.
        let full = [man, zebra, tree, TokenId(1), TokenId(2)].map(|word| concept(word, 0.8));
        let evidence = evidence.with_new_word(&full, new(0.7), people);
        assert_eq!((evidence.len(), evidence[0], evidence[4]), (5, full[0], new(0.7)));
    }

    #[test]
    fn a_sure_word_is_required_unless_a_form_of_it_is_said_or_required() {
        let (evidence, [zebra, zebras, man, people, tree]) = evidence();
        let concepts = [(zebra, 0.9), (zebras, 0.85), (man, 0.85), (tree, 0.7)];
        let concepts = concepts.map(|(word, confidence)| Concept { word, confidence });
        let required = |found: &[&[TokenId]]| -> Vec<TokenId> {
            evidence.required(&concepts, found.iter().copied()).map(|required| required.word).collect()
        };
        assert_eq!(required(&[&[tree]]), [zebra, man]);
        assert_eq!(required(&[&[tree], &[people]]), [zebra]);
        assert_eq!(required(&[&[zebras, tree, people]]), []);
        let odds = evidence.required(&concepts, [].into_iter()).next().unwrap().log_odds;
        assert!((odds - 9.0_f32.ln()).abs() < 1e-5, "{odds}");
    }
}
