//! `docs/reference/fields.md`: the fields of results.

use xdpmap::probe::MODULES;
use xdpmap::reply::fields::FieldInfo;

use super::{cell, page_has, table};

fn row(field: &FieldInfo) -> [String; 3] {
    [format!("`{}`", field.name), field.kind.name().to_owned(), cell(field.doc)]
}

/// Whether all modules have this very field.
fn is_common(field: &FieldInfo) -> bool {
    MODULES.iter().all(|module| {
        let extra = module.fields.extra.iter().flat_map(|group| group.iter());
        module.fields.all().chain(extra).any(|other| (other.name, other.doc) == (field.name, field.doc))
    })
}

#[test]
fn fields_are_those_of_the_modules() {
    let headings = ["field", "type", "meaning"];
    let first = MODULES[0].fields;
    let extra = || first.extra.iter().flat_map(|group| group.iter());
    let common = |fields: Vec<&'static FieldInfo>| {
        table(headings, fields.into_iter().filter(|field| is_common(field)).map(row))
    };
    let mut text = format!("## Of all modules\n\n{}\n", common(first.all().collect()));
    text.push_str(&format!(
        "These must be named, because ZMap does not have them:\n\n{}\n",
        common(extra().collect())
    ));
    for module in MODULES {
        let own: Vec<_> = module.fields.all().filter(|field| !is_common(field)).map(row).collect();
        let extra = module.fields.extra.iter().flat_map(|group| group.iter());
        let named: Vec<_> = extra.filter(|field| !is_common(field)).map(row).collect();
        text.push_str(&format!("## {}\n\n", module.name));
        match own.is_empty() {
            true => text.push_str("No others.\n\n"),
            false => text.push_str(&format!("{}\n", table(headings, own))),
        }
        if !named.is_empty() {
            text.push_str(&format!("These must be named:\n\n{}\n", table(headings, named)));
        }
    }
    page_has("fields.md", &text);
}
