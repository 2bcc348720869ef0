//! JSON lines: one object per reply, no spaces, in the order of the fields, as ZMap writes it.

use std::io;

use serde::ser::{SerializeMap, Serializer as _};
use serde_json::Serializer;

use crate::reply::Reply;
use crate::reply::fields::{Extractor, FieldSet, Value};

/// Writes one object per line. A null field is left out, a boolean is `true` or `false`.
#[derive(Debug)]
pub struct JsonEncoder {
    fields: FieldSet,
}

impl JsonEncoder {
    /// An encoder of these fields.
    pub fn new(fields: FieldSet) -> Self {
        Self { fields }
    }

    pub(super) fn encode(
        &mut self,
        reply: &Reply<'_>,
        extractor: &mut Extractor,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let mut serializer = Serializer::new(&mut *out);
        let mut object = serializer.serialize_map(None)?;
        for field in self.fields.fields() {
            match extractor.value(field, reply) {
                Value::Null => {}
                value => object.serialize_entry(field.name, &value)?,
            }
        }
        object.end()?;
        out.push(b'\n');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::tcp_synscan;
    use crate::reply::record::ReplyKind;
    use crate::reply::testing::{header, synack_frame};
    use jiff::tz::TimeZone;
    use std::net::Ipv4Addr;

    fn line(fields: &str, captured: &[u8]) -> String {
        let header = header(ReplyKind::Rst, Ipv4Addr::new(198, 18, 1, 2), 80, captured.len());
        let mut encoder = JsonEncoder::new(FieldSet::parse(fields, &tcp_synscan::FIELDS).unwrap());
        let mut bytes = vec![];
        let reply = Reply::new(&header, captured, true);
        encoder.encode(&reply, &mut Extractor::new(TimeZone::UTC), &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn exact_bytes() {
        assert_eq!(
            line("saddr,sport,classification,success,repeat,tcpopt_mss", &synack_frame()),
            "{\"saddr\":\"198.18.1.2\",\"sport\":80,\"classification\":\"rst\",\"success\":false,\"repeat\":true,\
             \"tcpopt_mss\":1460}\n"
        );
        assert_eq!(line("ttl,saddr,tcpopt_mss", &[]), "{\"saddr\":\"198.18.1.2\"}\n");
        assert_eq!(line("ttl", &[]), "{}\n");
    }
}
