//! Example, schema and defaults say the same.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{Config, EXAMPLE, Faults, Secret};

/// The example with every key set: lines that begin with `# ` and a key or a section are taken at their word.
fn with_every_key() -> String {
    let is_word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let lines = EXAMPLE.lines().map(|line| match line.strip_prefix("# ") {
        Some(rest)
            if rest.starts_with('[') || rest.split_once(" = ").is_some_and(|(key, _)| is_word(key)) =>
        {
            rest
        }
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The part of the schema that is for this key.
fn part(key: &str) -> Value {
    key.split('.').fold(value(), |schema, name| schema["properties"][name].clone())
}

fn leaves(value: &Value, prefix: &str, all: &mut Vec<(String, Value)>) {
    for (name, inner) in value.as_object().unwrap() {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        if inner.is_object() { leaves(inner, &key, all) } else { all.push((key, inner.clone())) }
    }
}

#[test]
fn what_the_example_sets_are_the_defaults() {
    let smallest = Config::parse("source = 'files:pictures'\nstate = 'state'").unwrap();
    assert_eq!(Config::parse(EXAMPLE).unwrap(), smallest);
}

#[test]
fn what_the_example_leaves_out_can_be_set() {
    let text = with_every_key().replace("password_env", "# password_env");
    let text = text.replace("backend = \"none\"", "backend = \"rppal\"");
    let config = Config::parse(&text).unwrap();
    assert_eq!(config.faults, Some(Faults::default()));
    let mqtt = config.mqtt.unwrap();
    assert_eq!(mqtt.password, Some(Secret::File("/etc/metalens/mqtt-password".into())));
    let sparse = Config::parse(
        "source = 'files:x'\nstate = 's'\n[mqtt]\nurl = 'mqtt://b'\n[log]\npath = '/var/log/metalens/captions.jsonl'",
    )
    .unwrap();
    let default = sparse.mqtt.unwrap();
    assert_eq!((mqtt.node, mqtt.base, mqtt.discovery), (default.node, default.base, default.discovery));
    assert_eq!(config.log, sparse.log);
}

#[test]
fn example_and_schema_have_the_same_keys() {
    let example: Value = toml::from_str(&with_every_key()).unwrap();
    let mut set = Vec::new();
    leaves(&example, "", &mut set);
    let mut set: Vec<String> = set.into_iter().map(|(key, _)| key).collect();
    let mut known = keys();
    known.retain(|key| part(key).get("properties").is_none());
    set.sort();
    known.sort();
    assert_eq!(set, known);
}

#[test]
fn the_example_is_of_the_schemas_types() {
    let example: Value = toml::from_str(&with_every_key()).unwrap();
    let mut set = Vec::new();
    leaves(&example, "", &mut set);
    for (key, value) in set {
        let schema = part(&key);
        let expected = match &value {
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::Array(_) => "array",
            _ => "string",
        };
        let choices =
            schema["oneOf"].as_array().map(|choices| choices.iter().any(|one| one["const"] == value));
        assert!(choices.unwrap_or(schema["type"] == expected), "{key} = {value} is none of {schema}");
    }
}

#[test]
fn the_schema_tells_every_key_what_it_is_for_and_nothing_is_null() {
    for key in keys() {
        assert!(part(&key)["description"].is_string(), "{key}");
    }
    assert!(!schema().contains("null"));
    assert_eq!(value()["required"], json!(["source", "state"]));
    assert_eq!(part("caption.min_change")["default"], json!(0.05));
}

#[test]
fn a_value_of_the_wrong_type_is_named_whatever_its_key_is() {
    for key in keys() {
        for wrong in ["1979-05-27", "{ a = 1 }", "[[1]]"] {
            let problems = Config::parse(&format!("source = 'files:x'\nstate = 's'\n{key} = {wrong}"));
            // Of `source` and `state` the second is a syntax error, and a section knows no key `a`.
            let expected = match key.as_str() {
                "source" | "state" => String::new(),
                section if wrong == "{ a = 1 }" && part(section).get("properties").is_some() => {
                    format!("{section}.a")
                }
                key => key.to_owned(),
            };
            let problems = problems.unwrap_err();
            let first = problems.iter().next().unwrap();
            assert_eq!(
                (first.line, first.key.as_str()),
                (3, expected.as_str()),
                "{key} = {wrong}: {problems}"
            );
        }
    }
}

#[test]
fn a_text_that_ends_early_is_answered() {
    let text = with_every_key();
    for end in (0..text.len()).filter(|&end| text.is_char_boundary(end)) {
        if let Err(problems) = Config::parse(&text[..end]) {
            assert!(problems.iter().next().is_some());
        }
    }
}
