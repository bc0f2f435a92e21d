//! The configuration as JSON schema, for editors and for `metalens config schema`.

mod tidy;

#[cfg(test)]
mod tests;

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use crate::config::RawConfig;

/// The JSON schema (draft 2020-12) of the configuration, indented. TOML editors check and complete by it.
#[must_use]
pub fn schema() -> String {
    serde_json::to_string_pretty(&value()).expect("a schema has no keys but strings")
}

/// Every key, with its sections: `http.listen`. Sections themselves are there too.
pub(crate) fn keys() -> Vec<String> {
    let mut keys = Vec::new();
    collect(&value(), "", &mut keys);
    keys
}

fn value() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<RawConfig>();
    schema.insert("title".to_owned(), "The configuration of the Metalens daemon".into());
    schema.insert("required".to_owned(), json!(["source", "state"]));
    let mut value = schema.to_value();
    tidy::tidy(&mut value);
    value
}

fn collect(schema: &Value, prefix: &str, keys: &mut Vec<String>) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    for (name, property) in properties {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        collect(property, &key, keys);
        keys.push(key);
    }
}
