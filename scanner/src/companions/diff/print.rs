//! Differences as text: CSV, JSON lines, or lines for people.

use std::io::{self, Write};

use serde::ser::{SerializeMap as _, Serializer as _};
use serde_json::Serializer;

use super::columns::Columns;
use super::table::{Change, Tally, Values};
use crate::results::format::for_terminal;
use crate::units::counted;

/// How differences are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Form {
    /// One row per difference in a value, with a header row
    Csv,
    /// One JSON object per target
    Json,
    /// One line per target, and one that counts; nothing if there is no difference
    Text,
}

/// Writes differences.
pub(super) struct Printer<'a> {
    pub(super) form: Form,
    pub(super) columns: &'a Columns,
    /// Whether control characters have to be shown as what they are.
    pub(super) is_for_terminal: bool,
}

impl Printer<'_> {
    /// The first line.
    pub(super) fn begin(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.form != Form::Csv {
            return Ok(());
        }
        let port = self.columns.port.as_deref();
        let names =
            [Some("change"), Some(&*self.columns.address), port, Some("field"), Some("old"), Some("new")];
        self.write(out, &row(names.into_iter().flatten())?)
    }

    /// A difference.
    pub(super) fn change(&self, out: &mut dyn Write, change: &Change) -> io::Result<()> {
        let text = match self.form {
            Form::Csv => self.csv(change)?,
            Form::Json => self.json(change)?,
            Form::Text => self.text(change).into_bytes(),
        };
        self.write(out, &text)
    }

    /// The last line, if there is any before it: nothing is said where nothing differs, so that cron sends no mail.
    pub(super) fn end(&self, out: &mut dyn Write, tally: Tally) -> io::Result<()> {
        if self.form != Form::Text || tally.is_same() {
            return Ok(());
        }
        let Tally { new, gone, changed, same } = tally;
        writeln!(
            out,
            "{new} new, {gone} gone, {changed} changed, {} without a difference",
            counted(same, "target")
        )
    }

    /// Writes a text. What a server has said must not control a terminal, or begin a line of its own.
    fn write(&self, out: &mut dyn Write, text: &[u8]) -> io::Result<()> {
        if self.form == Form::Text {
            let line = String::from_utf8_lossy(text).replace('\n', "\\u000a");
            out.write_all(&for_terminal(line.as_bytes()))?;
            return out.write_all(b"\n");
        }
        if self.is_for_terminal { out.write_all(&for_terminal(text)) } else { out.write_all(text) }
    }

    fn csv(&self, change: &Change) -> io::Result<Vec<u8>> {
        let key = change.key();
        let (address, port) =
            (key.address().to_string(), key.port().map_or_else(String::new, |port| port.to_string()));
        let of_port = self.columns.port.as_ref().map(|_| port.as_str());
        let line = |kind: &str, field: &str, old: &str, new: &str| {
            row([Some(kind), Some(&*address), of_port, Some(field), Some(old), Some(new)]
                .into_iter()
                .flatten())
        };
        match change {
            Change::New(..) => line("new", "", "", ""),
            Change::Gone(..) => line("gone", "", "", ""),
            Change::Changed(_, old, new) => {
                let rows = self.differing(old, new).map(|(field, old, new)| {
                    line("changed", field, old.unwrap_or_default(), new.unwrap_or_default())
                });
                rows.collect::<io::Result<Vec<_>>>().map(|rows| rows.concat())
            }
        }
    }

    fn json(&self, change: &Change) -> io::Result<Vec<u8>> {
        let key = change.key();
        let mut text = Vec::new();
        let mut serializer = Serializer::new(&mut text);
        let mut object = serializer.serialize_map(None)?;
        let kind = match change {
            Change::New(..) => "new",
            Change::Gone(..) => "gone",
            Change::Changed(..) => "changed",
        };
        object.serialize_entry("change", kind)?;
        object.serialize_entry(&self.columns.address, &key.address())?;
        if let (Some(name), Some(port)) = (&self.columns.port, key.port()) {
            object.serialize_entry(name, &port)?;
        }
        match change {
            Change::New(_, values) => object.serialize_entry("new", &self.named(values))?,
            Change::Gone(_, values) => object.serialize_entry("old", &self.named(values))?,
            Change::Changed(_, old, new) => {
                let old_values = self.differing(old, new).map(|(field, old, _)| (field, old));
                object.serialize_entry("old", &Pairs(old_values.collect()))?;
                let new_values = self.differing(old, new).map(|(field, _, new)| (field, new));
                object.serialize_entry("new", &Pairs(new_values.collect()))?;
            }
        }
        object.end()?;
        text.push(b'\n');
        Ok(text)
    }

    fn text(&self, change: &Change) -> String {
        let key = change.key();
        let target =
            key.port().map_or_else(|| key.address().to_string(), |port| format!("{}:{port}", key.address()));
        let value = |value: Option<&str>| value.unwrap_or("nothing").to_owned();
        let all = |values: &Values| -> String {
            let Pairs(pairs) = self.named(values);
            let known = pairs.into_iter().filter_map(|(field, value)| Some(format!(" {field}={}", value?)));
            known.collect()
        };
        match change {
            Change::New(_, values) => format!("+ {target}{}", all(values)),
            Change::Gone(_, values) => format!("- {target}{}", all(values)),
            Change::Changed(_, old, new) => {
                let changes = self.differing(old, new);
                let changes =
                    changes.map(|(field, old, new)| format!(" {field}: {} -> {}", value(old), value(new)));
                format!("~ {target}{}", changes.collect::<Vec<_>>().join(","))
            }
        }
    }

    /// The columns whose values differ, with both values.
    fn differing<'a>(
        &'a self,
        old: &'a Values,
        new: &'a Values,
    ) -> impl Iterator<Item = (&'a str, Option<&'a str>, Option<&'a str>)> {
        let pairs = self.columns.compared.iter().zip(old.iter().zip(new));
        pairs
            .filter(|(_, (old, new))| old != new)
            .map(|(name, (old, new))| (name.as_str(), old.as_deref(), new.as_deref()))
    }

    fn named<'a>(&'a self, values: &'a Values) -> Pairs<'a> {
        Pairs(
            self.columns
                .compared
                .iter()
                .map(String::as_str)
                .zip(values.iter().map(Option::as_deref))
                .collect(),
        )
    }
}

/// An object of texts; what is not there is left out, as in JSON results.
struct Pairs<'a>(Vec<(&'a str, Option<&'a str>)>);

impl serde::Serialize for Pairs<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in &self.0 {
            if let Some(value) = value {
                map.serialize_entry(name, value)?;
            }
        }
        map.end()
    }
}

/// A row of CSV.
fn row<'a>(cells: impl Iterator<Item = &'a str>) -> io::Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
    writer.write_record(cells)?;
    writer.into_inner().map_err(|error| io::Error::other(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(form: Form, port: Option<&str>, change: &Change) -> String {
        let columns = Columns {
            address: "saddr".to_owned(),
            port: port.map(str::to_owned),
            compared: vec!["classification".to_owned(), "server".to_owned()],
        };
        let printer = Printer { form, columns: &columns, is_for_terminal: false };
        let mut out = vec![];
        printer.begin(&mut out).unwrap();
        printer.change(&mut out, change).unwrap();
        printer.end(&mut out, Tally { new: 1, gone: 2, changed: 3, same: 1 }).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn values(values: [&str; 2]) -> Values {
        values.map(|value| Some(value.to_owned()).filter(|value| !value.is_empty())).into()
    }

    #[test]
    fn each_form() {
        let key = crate::companions::diff::table::Key::new(0xc000_0201, Some(80));
        let changed = Change::Changed(key, values(["rst", ""]), values(["synack", "a\"\u{1b}[2J\nb"]));
        assert_eq!(
            printed(Form::Csv, Some("sport"), &changed),
            "change,saddr,sport,field,old,new\nchanged,192.0.2.1,80,classification,rst,synack\n\
             changed,192.0.2.1,80,server,,\"a\"\"\u{1b}[2J\nb\"\n"
        );
        assert_eq!(
            printed(Form::Json, Some("sport"), &changed),
            "{\"change\":\"changed\",\"saddr\":\"192.0.2.1\",\"sport\":80,\"old\":{\"classification\":\"rst\"},\
             \"new\":{\"classification\":\"synack\",\"server\":\"a\\\"\\u001b[2J\\nb\"}}\n"
        );
        assert_eq!(
            printed(Form::Text, Some("sport"), &changed),
            "~ 192.0.2.1:80 classification: rst -> synack, server: nothing -> a\"\\u001b[2J\\u000ab\n\
             1 new, 2 gone, 3 changed, 1 target without a difference\n"
        );
        let key = crate::companions::diff::table::Key::new(0xc000_0201, None);
        let new = Change::New(key, values(["synack", ""]));
        assert_eq!(printed(Form::Csv, None, &new), "change,saddr,field,old,new\nnew,192.0.2.1,,,\n");
        assert!(printed(Form::Text, None, &new).starts_with("+ 192.0.2.1 classification=synack\n"));
        let gone = printed(Form::Json, None, &Change::Gone(key, values(["synack", "x"])));
        let value: serde_json::Value = serde_json::from_str(&gone).unwrap();
        assert_eq!((&value["change"], &value["old"]["server"]), (&"gone".into(), &"x".into()));
    }
}
