//! Values of the metadata as rows of a table: the path of each, and the value.

use maud::{Markup, html};
use serde_json::Value;

/// A value without the quotes of JSON.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(shown).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// The values of an object, each with its path.
pub(super) fn flat(value: &Value) -> Vec<(String, String)> {
    let Value::Object(object) = value else { return vec![(String::new(), shown(value))] };
    let parts = object.iter().flat_map(|(key, value)| {
        flat(value).into_iter().map(move |(path, value)| {
            let path = if path.is_empty() { key.clone() } else { format!("{key}.{path}") };
            (path, value)
        })
    });
    parts.collect()
}

/// A table of names and values.
pub(super) fn pairs(rows: &[(String, String)]) -> Markup {
    html! {
        table.pairs { tbody { @for (name, value) in rows { tr { th scope="row" { (name) } td { (value) } } } } }
    }
}
