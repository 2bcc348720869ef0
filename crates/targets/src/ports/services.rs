//! Names that ports have.
//!
//! The names are IANA's (<https://www.iana.org/assignments/service-names-port-numbers>), with a few by which a service
//! is known better. They are here and not looked up in the system's `/etc/services`, because a name has to mean the
//! same ports on every machine that scans a shard.

/// Names and their ports, sorted by name.
const SERVICES: [(&str, u16); 66] = [
    ("afp", 548),
    ("amqp", 5672),
    ("bacnet", 47808),
    ("bgp", 179),
    ("cassandra", 9042),
    ("chargen", 19),
    ("coap", 5683),
    ("discard", 9),
    ("dns", 53),
    ("docker", 2375),
    ("domain", 53),
    ("echo", 7),
    ("elasticsearch", 9200),
    ("finger", 79),
    ("ftp", 21),
    ("ftps", 990),
    ("git", 9418),
    ("http", 80),
    ("http-alt", 8080),
    ("https", 443),
    ("imap", 143),
    ("imaps", 993),
    ("ipp", 631),
    ("irc", 6667),
    ("isakmp", 500),
    ("iscsi", 3260),
    ("kerberos", 88),
    ("ldap", 389),
    ("ldaps", 636),
    ("mdns", 5353),
    ("memcached", 11211),
    ("modbus", 502),
    ("mongodb", 27017),
    ("mqtt", 1883),
    ("ms-sql", 1433),
    ("ms-wbt-server", 3389),
    ("mysql", 3306),
    ("netbios-ns", 137),
    ("netbios-ssn", 139),
    ("nfs", 2049),
    ("nntp", 119),
    ("ntp", 123),
    ("opcua", 4840),
    ("oracle", 1521),
    ("pop3", 110),
    ("pop3s", 995),
    ("postgresql", 5432),
    ("radius", 1812),
    ("rdp", 3389),
    ("redis", 6379),
    ("rsync", 873),
    ("rtsp", 554),
    ("sip", 5060),
    ("sips", 5061),
    ("smb", 445),
    ("smtp", 25),
    ("snmp", 161),
    ("ssdp", 1900),
    ("ssh", 22),
    ("submission", 587),
    ("sunrpc", 111),
    ("telnet", 23),
    ("tftp", 69),
    ("vnc", 5900),
    ("whois", 43),
    ("x11", 6000),
];

/// The port of a service. Case does not matter.
pub(super) fn port_of(name: &str) -> Option<u16> {
    let name = name.to_ascii_lowercase();
    let at = SERVICES.binary_search_by(|(known, _)| (*known).cmp(&name)).ok()?;
    Some(SERVICES[at].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_cannot_be_taken_for_anything_else() {
        assert!(SERVICES.is_sorted_by(|one, next| one.0 < next.0));
        for (name, port) in SERVICES {
            assert_eq!(port_of(&name.to_uppercase()), Some(port));
            assert!(name.starts_with(|c: char| c.is_ascii_lowercase()), "{name}");
        }
        for none in ["", "htt", "80", "*", "ü"] {
            assert_eq!(port_of(none), None, "{none}");
        }
    }

    /// What the system's list says, where it has the name.
    #[test]
    fn names_are_as_in_the_system() {
        let text = std::fs::read_to_string("/etc/services").unwrap_or_default();
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let (Some(name), Some(port)) = (words.next(), words.next()) else { continue };
            let Some((port, "tcp" | "udp")) = port.split_once('/') else { continue };
            if let Some(known) = port_of(name) {
                assert_eq!(Ok(known), port.parse(), "{name}");
            }
        }
    }
}
