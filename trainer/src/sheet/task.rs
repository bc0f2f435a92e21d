//! One task's pictures, as they are learned from and judged on.

use std::path::PathBuf;

use super::{Figure, Page};
use crate::tasks::{Group, Pool, Sample, Subject, Task};

/// The page: the support and its captions, then the queries and their references, group by group.
///
/// `path_of` is the file of the picture at a place of the pool.
///
/// # Errors
/// When a picture cannot be read.
pub fn task_sheet(
    title: &str,
    task: &Task,
    pool: &Pool,
    path_of: impl Fn(usize) -> PathBuf,
) -> anyhow::Result<String> {
    let about = match &task.subject {
        Subject::NewWord { concept, nonce } => format!("{nonce} is what the corpus calls {concept}"),
        Subject::NewDomain { scenes } => format!("scenes: {}", scenes.join(", ")),
    };
    let mut page = Page::new(title, &about);
    let mut show = |heading: &str, samples: &[&Sample]| {
        let shown: Vec<Shown> =
            samples.iter().map(|sample| Shown::new(task, sample, pool, &path_of)).collect();
        page.heading(&format!("{heading}: {} pictures", samples.len()));
        page.grid(shown.iter().map(Shown::figure))
    };
    show("Support", &task.support.iter().collect::<Vec<_>>())?;
    let mut groups: Vec<&Group> = Vec::new();
    for Sample { group, .. } in &task.query {
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    for group in groups {
        let heading = match (group, &task.subject) {
            (Group::Concept, Subject::NewWord { nonce, .. }) => format!("Query, with a {nonce}"),
            (Group::Scene(scene), _) => format!("Query, {scene}"),
            (Group::Concept | Group::Unrelated, _) => "Query, unrelated".to_owned(),
        };
        show(&heading, &task.query.iter().filter(|sample| sample.group == *group).collect::<Vec<_>>())?;
    }
    Ok(page.finish())
}

/// What a figure borrows.
struct Shown<'a> {
    path: PathBuf,
    name: &'a str,
    headline: String,
    lines: Vec<String>,
}

impl<'a> Shown<'a> {
    fn new(task: &Task, sample: &Sample, pool: &'a Pool, path_of: &impl Fn(usize) -> PathBuf) -> Self {
        let mut texts = task.texts(sample, pool);
        let name = pool.pictures()[sample.picture].name;
        let headline = if texts.is_empty() { String::new() } else { texts.remove(0) };
        texts.push(match &sample.group {
            Group::Scene(scene) => format!("{name}, {scene}"),
            _ => name.to_owned(),
        });
        Self { path: path_of(sample.picture), name, headline, lines: texts }
    }

    fn figure(&self) -> Figure<'_> {
        Figure { path: &self.path, name: self.name, headline: &self.headline, lines: &self.lines }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::tasks::TaskPicture;

    #[test]
    fn a_page_shows_support_and_queries_with_the_concept_renamed() {
        let folder = tempfile::tempdir().unwrap();
        let captions = [vec!["a dog <here>".to_owned(), "the dog".to_owned()], vec!["a cat".to_owned()]];
        let names = ["dog1.png", "dog2.png", "cat.png"];
        for name in names {
            image::RgbImage::new(30, 30).save(folder.path().join(name)).unwrap();
        }
        let picture = |name, captions| TaskPicture { name, captions, scene: None };
        let pool = Pool::new([
            picture(names[0], &captions[0][..]),
            picture(names[1], &captions[0][..]),
            picture(names[2], &captions[1][..]),
        ]);
        let sample = |picture, group, captions| Sample { picture, group, captions };
        let task = Task {
            number: 4,
            subject: Subject::NewWord { concept: "dog".into(), nonce: "lumovak".into() },
            support: vec![sample(0, Group::Concept, vec![1])],
            query: vec![sample(1, Group::Concept, vec![0, 1]), sample(2, Group::Unrelated, vec![0])],
            written: None,
        };
        let path_of = |place: usize| folder.path().join(names[place]);
        let page = task_sheet("task 4", &task, &pool, path_of).unwrap();
        assert_eq!(page.matches("<img ").count(), 3);
        let order: Vec<usize> =
            ["Support: 1", "the lumovak", "with a lumovak: 1", "a lumovak here", "unrelated: 1", "a cat"]
                .map(|text| page.find(text).unwrap())
                .to_vec();
        assert!(order.is_sorted(), "{order:?}");
        assert!(page.contains("lumovak is what the corpus calls dog") && !page.contains("a dog"));
        let gone = task_sheet("task 4", &task, &pool, |_| folder.path().join("gone.png")).unwrap_err();
        assert!(format!("{gone:#}").contains("gone.png"));
    }
}
