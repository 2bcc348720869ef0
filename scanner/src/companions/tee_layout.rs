//! The format of the rows of a stream of results, and which part of a row goes to standard output.

use std::borrow::Cow;

use serde::Deserialize;
use targets::parse_address;

use super::rows::Fields;

/// Columns and keys that hold the address of a result. The first that exists is used.
const ADDRESS_NAMES: [&str; 2] = ["saddr", "ip"];
const SUCCESS_NAME: &str = "success";

/// The format of the rows.
#[derive(Debug)]
pub enum Layout {
    /// Text that is passed on unchanged.
    Raw,
    /// CSV with a header row.
    Csv(Box<Columns>),
    /// One JSON object per row.
    Json {
        /// Only rows with `success` are passed on.
        success_only: bool,
    },
}

/// Which columns of CSV matter.
#[derive(Debug)]
pub struct Columns {
    address: usize,
    /// The column of successes, if only successes are passed on.
    success: Option<usize>,
    fields: Fields,
}

/// The outcome of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// It, or its address, was passed on.
    On,
    /// It is not a success.
    Filtered,
    /// It has no address.
    Unreadable,
}

impl Layout {
    /// The layout of a stream with this first row, and whether that row is itself a result. `raw` and `success_only`
    /// are the flags.
    ///
    /// # Errors
    /// The flags do not fit the format, or there is no address.
    pub fn detect(first: &[u8], raw: bool, success_only: bool) -> Result<(Self, bool), String> {
        let row = first.trim_ascii();
        let refuse_raw = |what: &str| match success_only {
            true => {
                Err(format!("--success-only needs CSV with a column success, or JSON, and the input {what}"))
            }
            false => Ok((Self::Raw, true)),
        };
        if raw {
            return refuse_raw("is passed on unchanged because of --raw");
        }
        if row.starts_with(b"{") && row.ends_with(b"}") {
            return Ok((Self::Json { success_only }, true));
        }
        let mut fields = Fields::new();
        let names: Vec<String> =
            fields.of(first).map(|name| String::from_utf8_lossy(name.trim_ascii()).into_owned()).collect();
        let place = |wanted: &str| names.iter().position(|name| name == wanted);
        let Some(address) = ADDRESS_NAMES.iter().find_map(|name| place(name)) else {
            // Without a choice of fields a scan writes addresses, possibly with ports, and no header row.
            let bare = names.first().is_none_or(|name| parse_address(name.as_bytes()).is_some());
            if bare || names.len() < 2 {
                return refuse_raw("has no header row");
            }
            let header: String = String::from_utf8_lossy(row).chars().take(80).collect();
            return Err(format!(
                "the input's header row '{}' has no column saddr or ip: add the field, or give --raw",
                header.escape_debug()
            ));
        };
        let success = place(SUCCESS_NAME);
        if success_only && success.is_none() {
            return Err(
                "--success-only: the input has no column success: add that field to the scan".to_owned()
            );
        }
        let success = success.filter(|_| success_only);
        Ok((Self::Csv(Box::new(Columns { address, success, fields })), false))
    }

    /// Appends to `out` the part of a row that is passed on.
    pub fn pass(&mut self, row: &[u8], out: &mut Vec<u8>) -> Passed {
        match self {
            Self::Raw => {
                out.extend_from_slice(row);
                Passed::On
            }
            Self::Csv(columns) => columns.pass(row, out),
            Self::Json { success_only } => pass_json(row, *success_only, out),
        }
    }
}

impl Columns {
    fn pass(&mut self, row: &[u8], out: &mut Vec<u8>) -> Passed {
        let (mut address, mut success) = (None, self.success.is_none());
        for (i, field) in self.fields.of(row).enumerate() {
            if i == self.address {
                address = Some(field);
            }
            if Some(i) == self.success {
                success = is_success(field);
            }
        }
        match address {
            None | Some([]) => Passed::Unreadable,
            Some(_) if !success => Passed::Filtered,
            Some(address) => push_row(address, out),
        }
    }
}

fn push_row(address: &[u8], out: &mut Vec<u8>) -> Passed {
    out.extend_from_slice(address);
    out.push(b'\n');
    Passed::On
}

/// `true`, or a number other than 0.
fn is_success(field: &[u8]) -> bool {
    let field = field.trim_ascii();
    let digits: &[u8] = field.strip_prefix(b"-").unwrap_or(field);
    field.eq_ignore_ascii_case(b"true")
        || digits.iter().take_while(|byte| byte.is_ascii_digit()).any(|&byte| byte != b'0')
}

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow)]
    saddr: Option<Cow<'a, str>>,
    #[serde(borrow)]
    ip: Option<Cow<'a, str>>,
    success: Option<serde_json::Value>,
}

fn pass_json(row: &[u8], success_only: bool, out: &mut Vec<u8>) -> Passed {
    let Ok(reply) = serde_json::from_slice::<Reply<'_>>(row) else { return Passed::Unreadable };
    let Some(address) = reply.saddr.or(reply.ip) else { return Passed::Unreadable };
    let success = match reply.success {
        Some(serde_json::Value::Bool(success)) => success,
        Some(serde_json::Value::Number(number)) => number.as_f64() != Some(0.0),
        _ => false,
    };
    if success_only && !success { Passed::Filtered } else { push_row(address.as_bytes(), out) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The output for a stream, row by row.
    fn passed(rows: &[&str], raw: bool, success_only: bool) -> Result<String, String> {
        let (mut layout, counts) = Layout::detect(rows[0].as_bytes(), raw, success_only)?;
        let mut out = vec![];
        for row in &rows[usize::from(!counts)..] {
            layout.pass(row.as_bytes(), &mut out);
        }
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn addresses_of_every_layout() {
        let csv = [
            "ttl,saddr,success\n",
            "64,1.1.1.1,1\n",
            "64,2.2.2.2,0\n",
            "\"6,4\",3.3.3.3,TRUE\n",
            "64,4.4.4.4,x",
        ];
        assert_eq!(passed(&csv, false, false).unwrap(), "1.1.1.1\n2.2.2.2\n3.3.3.3\n4.4.4.4\n");
        assert_eq!(passed(&csv, false, true).unwrap(), "1.1.1.1\n3.3.3.3\n");
        assert_eq!(passed(&csv, true, false).unwrap(), csv.concat());
        let json = [
            "{\"saddr\":\"1.1.1.1\",\"success\":true}\n",
            "{\"success\":0,\"ip\":\"2.2.2.2\"}\r\n",
            "{\"data\":5}\n",
            "{\"saddr\":\"3.3.3.3\",\"success\":1}",
            "{\"saddr",
        ];
        assert_eq!(passed(&json, false, false).unwrap(), "1.1.1.1\n2.2.2.2\n3.3.3.3\n");
        assert_eq!(passed(&json, false, true).unwrap(), "1.1.1.1\n3.3.3.3\n");
        assert_eq!(passed(&["saddr\n", "1.1.1.1\n"], false, false).unwrap(), "1.1.1.1\n");
        for bare in [&["1.1.1.1\n", "2.2.2.2\n"][..], &["1.1.1.1,80\n", "2.2.2.2,443\n"], &["\n", "x\n"]] {
            assert_eq!(passed(bare, false, false).unwrap(), bare.concat());
        }
    }

    #[test]
    fn what_cannot_be_done_says_how() {
        for (rows, raw, words) in [
            (&["1.1.1.1\n"][..], false, "--success-only needs CSV"),
            (&["saddr,success\n"], true, "--raw"),
            (&["saddr,ttl\n"], false, "no column success"),
            (&["daddr,success\n"], false, "no column saddr or ip"),
        ] {
            let error = passed(rows, raw, true).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    proptest! {
        #[test]
        fn fields_are_read_back(record in prop::collection::vec("[a\"\n\r, ]{0,6}", 1..6)) {
            let mut writer = csv::WriterBuilder::new().from_writer(vec![]);
            writer.write_record(&record).unwrap();
            let row = writer.into_inner().unwrap();
            let mut fields = Fields::new();
            for row in [&row[..], row.strip_suffix(b"\n").unwrap()] {
                let read: Vec<String> = fields.of(row).map(|field| String::from_utf8(field.to_vec()).unwrap()).collect();
                prop_assert_eq!(&read, &record);
            }
        }

        #[test]
        fn any_bytes_are_a_row(first in prop::collection::vec(any::<u8>(), 0..60), row in prop::collection::vec(any::<u8>(), 0..60)) {
            for first in [&first[..], b"ip,success\n", b"{}\n"] {
                if let Ok((mut layout, _)) = Layout::detect(first, false, false) {
                    layout.pass(&row, &mut vec![]);
                }
            }
        }
    }
}
