//! By which columns two files of results are compared: those that say of which target a result is, and those whose
//! values are looked at.

/// Columns that differ between any two scans, or even between two answers of one host: our own addresses and ports,
/// cookies, times and counts.
const VOLATILE: [&str; 34] = [
    "acknum",
    "cooldown",
    "daddr",
    "daddr_raw",
    "date",
    "dns_id",
    "dport",
    "dst_raw",
    "icmp_id",
    "ipid",
    "originate_timestamp",
    "probe_number",
    "raw_data",
    "receive_timestamp",
    "recv_timestamp_ts",
    "recv_timestamp_us",
    "reference_timestamp",
    "repeat",
    "root_dispersion",
    "rtt_us",
    "rx_queue",
    "saddr_raw",
    "sent_timestamp_ts",
    "sent_timestamp_us",
    "seq",
    "seqnum",
    "tcpopt_ts_ecr",
    "tcpopt_ts_val",
    "timestamp",
    "timestamp_str",
    "timestamp_ts",
    "timestamp_us",
    "transmit_timestamp",
    "ttl",
];

/// The columns of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    /// The column with the address.
    pub(super) address: String,
    /// The column with the port, if results are told apart by it.
    pub(super) port: Option<String>,
    /// The columns whose values are compared, in the order of the older file.
    pub(super) compared: Vec<String>,
}

impl Columns {
    /// Those of two files with these columns. `chosen` are the ones to compare, if the user has named any.
    ///
    /// # Errors
    /// A column that is needed is not in both, in one line.
    pub(super) fn of(old: &[String], new: &[String], chosen: Option<&[String]>) -> Result<Self, String> {
        let has_both =
            |name: &str| [old, new].iter().all(|columns| columns.iter().any(|column| column == name));
        let first_of = |names: [&str; 2]| names.into_iter().find(|name| has_both(name)).map(str::to_owned);
        let Some(address) = first_of(["target", "saddr"]) else {
            return Err("there is no column saddr or target that both files have".to_owned());
        };
        let port = first_of(["target_port", "sport"]);
        let is_key = |name: &str| name == address || Some(name) == port.as_deref();
        let compared = match chosen {
            Some(chosen) => match chosen.iter().find(|name| !has_both(name)) {
                Some(name) => {
                    return Err(format!("--fields: there is no column {name} that both files have"));
                }
                None => {
                    let mut compared: Vec<String> = Vec::new();
                    for name in chosen.iter().filter(|name| !is_key(name)) {
                        if !compared.contains(name) {
                            compared.push(name.clone());
                        }
                    }
                    compared
                }
            },
            None => {
                let others = ["saddr", "target", "sport", "target_port"];
                let counts = |name: &&String| {
                    has_both(name) && !is_key(name) && !others.contains(&name.as_str()) && !is_volatile(name)
                };
                old.iter().filter(counts).cloned().collect()
            }
        };
        Ok(Self { address, port, compared })
    }

    /// All of them: address, port if there is one, and what is compared.
    pub(super) fn all(&self) -> Vec<&str> {
        let keys = [Some(&self.address), self.port.as_ref()].into_iter().flatten();
        keys.chain(&self.compared).map(String::as_str).collect()
    }
}

/// Whether a column differs between any two scans.
fn is_volatile(name: &str) -> bool {
    VOLATILE.binary_search(&name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split(' ').filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn keys_are_what_both_have() {
        assert!(VOLATILE.is_sorted());
        for name in VOLATILE {
            let is_field = crate::probe::MODULES.iter().any(|module| module.fields.find(name).is_some());
            assert!(is_field, "no module has a field {name}");
        }
        for (old, new, expected) in [
            (
                "saddr sport classification ttl",
                "sport saddr classification ttl",
                ("saddr", Some("sport"), "classification"),
            ),
            ("saddr", "saddr sport", ("saddr", None, "")),
            (
                "saddr target target_port sport success",
                "success sport target saddr",
                ("target", Some("sport"), "success"),
            ),
            ("saddr target target_port", "target_port target", ("target", Some("target_port"), "")),
            (
                "saddr seqnum window timestamp_ts",
                "window saddr seqnum timestamp_ts",
                ("saddr", None, "window"),
            ),
        ] {
            let columns = Columns::of(&names(old), &names(new), None).unwrap();
            let found = (&*columns.address, columns.port.as_deref(), &*columns.compared.join(" "));
            assert_eq!(found, expected, "{old}; {new}");
        }
        assert!(Columns::of(&names("saddr"), &names("target"), None).unwrap_err().contains("both files"));
    }

    #[test]
    fn chosen_columns() {
        let of = |chosen: &str| {
            Columns::of(&names("saddr sport ttl"), &names("saddr sport ttl x"), Some(&names(chosen)))
        };
        assert_eq!(of("ttl ttl").unwrap().compared, ["ttl"]);
        assert_eq!(of("saddr").unwrap().compared, [""; 0]);
        assert!(of("x").unwrap_err().contains("no column x"));
    }
}
