//! The schema as TOML has it.

use serde_json::{Map, Value, json};

/// TOML has no null: what may be left out is left out. And a number of 32 bits is told as it is written.
pub(super) fn tidy(value: &mut Value) {
    match value {
        Value::Object(schema) => {
            without_null(schema);
            schema.values_mut().for_each(tidy);
        }
        Value::Array(values) => values.iter_mut().for_each(tidy),
        Value::String(text) if text.contains('\n') => *text = text.replace('\n', " "),
        Value::Number(number) => {
            if let Some(wide) =
                number.as_f64().filter(|wide| number.is_f64() && f64::from(*wide as f32) == *wide)
            {
                *value = (wide as f32).to_string().parse::<f64>().map_or(Value::Null, Value::from);
            }
        }
        _ => {}
    }
}

fn without_null(schema: &mut Map<String, Value>) {
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = &mut types[..] {
            let only = only.take();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.retain(|choice| *choice != json!({ "type": "null" }));
        if let [Value::Object(only)] = &mut choices[..] {
            let only = std::mem::take(only);
            schema.remove("anyOf");
            for (key, inner) in only {
                schema.entry(key).or_insert(inner);
            }
        }
    }
}
