//! What the comments in the source say of the fields of a struct: they describe the keys of the metadata and the
//! counters, and there is no second text of them.

use std::path::Path;

use support::read;

/// A field as the source has it.
#[derive(Clone, Debug)]
pub(super) struct Commented {
    /// Its name in what is written.
    pub(super) name: String,
    /// Its type as the source names it; empty where a macro gives it one.
    pub(super) kind: String,
    /// What its comment says.
    pub(super) text: String,
    /// How serde is told to write it.
    pub(super) serde: String,
}

/// A source below `scanner/src`.
pub(super) fn source(path: &str) -> String {
    let text = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(path));
    assert!(!text.is_empty(), "{path} is missing");
    text
}

/// The fields of the struct `name`, in their order.
pub(super) fn fields_of(source: &str, name: &str) -> Vec<Commented> {
    let begin = format!("struct {name} {{\n");
    let (_, rest) = source.split_once(&begin).unwrap_or_else(|| panic!("there is no {begin}"));
    let (body, _) = rest.split_once("\n}").expect("the end of a struct");
    let fields = commented(body);
    assert!(!fields.is_empty() && fields.iter().all(|field| !field.text.is_empty()), "{name}: {fields:?}");
    fields
}

/// The lines `name: Type,` and `name,` of a text, each with the comments and attributes before it.
pub(super) fn commented(text: &str) -> Vec<Commented> {
    let (mut fields, mut comment, mut serde) = (vec![], vec![], String::new());
    for line in text.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix("///") {
            comment.push(words.trim().to_owned());
        } else if let Some(told) = line.strip_prefix("#[serde(") {
            serde = told.trim_end_matches(")]").to_owned();
        } else if let Some(field) = line.strip_suffix(',').filter(|field| !field.contains('=')) {
            let field = field.rsplit("pub(super) ").next().unwrap().trim_start_matches("pub ");
            let (name, kind) = field.split_once(": ").unwrap_or((field, ""));
            let renamed = serde.split_once("rename = \"").and_then(|(_, rest)| rest.split_once('"'));
            let text = without_links(&std::mem::take(&mut comment).join(" "));
            fields.push(Commented {
                name: renamed.map_or(name, |(renamed, _)| renamed).to_owned(),
                kind: kind.to_owned(),
                text,
                serde: std::mem::take(&mut serde),
            });
        }
    }
    fields
}

/// Links to items of the source are their names.
fn without_links(text: &str) -> String {
    let (mut plain, mut rest) = (String::new(), text);
    while let Some((before, link)) = rest.split_once("[`") {
        let (name, after) = link.split_once("`]").expect("the end of a link");
        plain.push_str(&format!("{before}`{name}`"));
        rest = match after.strip_prefix('(') {
            Some(target) => target.split_once(')').expect("the end of a link's target").1,
            None => after,
        };
    }
    plain + rest
}

#[test]
fn fields_have_their_comments() {
    let source = "/// One.\nstruct One {\n    /// First\n    /// line, [`Counts`](crate::Counts).\n    \
                  #[serde(rename = \"the-first\", skip_serializing_if = \"X\")]\n    pub(super) first: Option<u8>,\n    \
                  /// Second.\n    second: u64,\n}\n";
    let fields = fields_of(source, "One");
    assert_eq!((fields[0].name.as_str(), fields[0].kind.as_str()), ("the-first", "Option<u8>"));
    assert_eq!(fields[0].text, "First line, `Counts`.");
    assert_eq!((fields[1].name.as_str(), fields[1].text.as_str()), ("second", "Second."));
    assert!(fields[0].serde.contains("skip_serializing_if") && fields[1].serde.is_empty());
}
