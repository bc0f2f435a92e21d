//! Tasks as a table of text.

use std::collections::HashSet;
use std::fmt::Write;

use super::{Pool, Subject, Task};

/// One line a task: number, concept or scenes, nonce, pictures of support and query, and how many words of the support
/// are not `known`.
#[must_use]
pub fn table(tasks: &[Task], pool: &Pool, known: &HashSet<String>) -> String {
    let about = |task: &Task| match &task.subject {
        Subject::NewWord { concept, nonce } => (concept.clone(), nonce.clone()),
        Subject::NewDomain { scenes } => (scenes.join(" "), "-".to_owned()),
    };
    let width =
        tasks.iter().map(|task| about(task).0.chars().count()).max().unwrap_or(0).max("subject".len());
    let mut text = format!(
        "{:>4} {:<width$} {:<8} {:>7} {:>7} {:>9}\n",
        "task", "subject", "nonce", "support", "query", "new words"
    );
    for task in tasks {
        let (subject, nonce) = about(task);
        let (support, query) = (task.support.len(), task.query.len());
        let new_words = task.new_words(pool, known).len();
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{:>4} {subject:<width$} {nonce:<8} {support:>7} {query:>7} {new_words:>9}",
            task.number
        );
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::testing::{Corpus, new_domain, new_word};
    use super::super::{Sampler, TaskOptions};
    use super::*;

    #[test]
    fn a_task_is_one_line() {
        let corpus = Corpus::animals();
        let pool = corpus.pool();
        let known: HashSet<String> = ["a", "two", "on", "at", "the"].map(str::to_owned).into();
        let of = |options: TaskOptions| {
            let task = Sampler::new(&pool, options).unwrap().task(7);
            (table(std::slice::from_ref(&task), &pool, &known), task)
        };
        let (text, task) = of(new_word(2));
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        let Subject::NewWord { concept, nonce } = &task.subject else { panic!("{task:?}") };
        assert_eq!(lines[1][..5], ["7", concept, nonce, "2", "16"]);
        // The nonce and the scenes of two captions.
        assert!(["2", "3"].contains(&lines[1][5]), "{text}");
        let (text, task) = of(new_domain(2, 3));
        let Subject::NewDomain { scenes } = &task.subject else { panic!("{task:?}") };
        let cells: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(cells[..6], ["7", &scenes[0], &scenes[1], "-", "6", "30"]);
    }
}
