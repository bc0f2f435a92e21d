//! serde's messages in words that say what to do.

use super::keys::{nearest, nearest_key};

/// The problem with the entry at `key`, about which serde says `message`.
pub(super) fn of(key: &str, message: &str) -> String {
    if message.starts_with("unknown field") {
        return unknown_key(key);
    }
    if let Some((found, known)) = parts(message, "unknown variant ") {
        let found = found.trim_matches('`');
        let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
        return unknown_value(found, known.iter().copied());
    }
    let wrong = parts(message, "invalid type: ").or_else(|| parts(message, "invalid value: "));
    match wrong {
        Some((found, expected)) => format!("found {found}; give {}", plain(expected)),
        None => message.to_owned(),
    }
}

/// The problem with a value that is none of those `known`.
pub(super) fn unknown_value<'k>(found: &str, known: impl Iterator<Item = &'k str> + Clone) -> String {
    let list = known.clone().map(|value| format!("\"{value}\"")).collect::<Vec<_>>().join(", ");
    match nearest(found, known) {
        Some(near) => format!("unknown value \"{found}\", did you mean \"{near}\"? Give one of {list}"),
        None => format!("unknown value \"{found}\"; give one of {list}"),
    }
}

fn unknown_key(key: &str) -> String {
    if key.ends_with("password") {
        return "passwords do not stand in the configuration; name a file with mqtt.password_file, or an environment \
                variable with mqtt.password_env"
            .to_owned();
    }
    match nearest_key(key) {
        Some(near) => format!("unknown key; did you mean `{near}`?"),
        None => "unknown key; take it out, `metalens config schema` lists all keys".to_owned(),
    }
}

/// `PREFIXfound, expected what`.
fn parts<'m>(message: &'m str, prefix: &str) -> Option<(&'m str, &'m str)> {
    message.strip_prefix(prefix)?.rsplit_once(", expected ")
}

/// What serde calls a type, in the words of somebody who writes TOML.
fn plain(expected: &str) -> &str {
    match expected {
        "f32" | "f64" => "a number",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "i32" | "i64" => "a whole number",
        "a boolean" => "true or false",
        "a string" | "path string" => "text in quotes",
        "a sequence" => "a list such as [\"one\", \"two\"]",
        section if section.starts_with("struct ") => "a section, such as [http] with its keys below",
        other => other,
    }
}
