//! The modules that read servers' answers, against real servers: unbound, chrony, minissdpd with miniupnpd, and a
//! BACnet device made with bacpypes3. Compared with Debian's zmap, if it has the module.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use lab::{Lab, have_root};
use serde_json::{Value, json};
use support::Scans as _;
use support::zmap::{Row, csv_rows, json_rows, zmap};

/// Waits until a program listens at this address and UDP port.
fn wait_for(lab: &Lab, address: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !lab.in_ns(&lab.net, "ss", ["-Hlun"]).contains(&format!("{address} ")) {
        assert!(Instant::now() < deadline, "nobody listens on {address}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A lab whose kernel refuses each datagram for which there is no socket.
fn lab() -> Lab {
    let lab = Lab::new(2);
    lab.send_all_icmp_errors();
    lab
}

/// Runs a scan that must go well, and returns its replies in the order of their addresses and copies.
fn replies(lab: &Lab, arguments: &str) -> Vec<Value> {
    let scanned = lab.survey(&format!("-q -r 10000 -c 2 -O json {arguments}"));
    assert_eq!(scanned.output.status.code(), Some(0), "{arguments}: {}", scanned.stderr());
    assert_eq!(scanned.number("/counters/rx_invalid"), 0, "the XDP program and the worker disagree");
    let mut replies: Vec<Value> =
        scanned.results.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let address =
        |reply: &Value| reply["saddr"].as_str().map(|text| text.parse::<std::net::Ipv4Addr>().unwrap());
    replies.sort_by_key(|reply| (address(reply), reply["probe_number"].as_u64()));
    replies
}

/// Replies that are successes.
fn successes(replies: &[Value]) -> Vec<&Value> {
    replies.iter().filter(|reply| reply["success"] == true).collect()
}

/// The members of `reply` that `expected` has.
#[track_caller]
fn assert_has(reply: &Value, expected: Value, case: &str) {
    let object = expected.as_object().unwrap();
    let found: serde_json::Map<String, Value> =
        object.keys().map(|name| (name.clone(), reply[name].clone())).collect();
    assert_eq!(Value::Object(found), expected, "{case}");
}

/// unbound on two addresses, with a zone of its own.
pub(crate) fn start_unbound(lab: &mut Lab) {
    let root = lab.folder().display().to_string();
    let mut config = format!(
        "server:\n interface: 198.18.0.18\n interface: 198.18.0.28\n access-control: 0.0.0.0/0 allow\n do-daemonize: no\n \
         username: \"\"\n chroot: \"\"\n directory: \"{root}\"\n pidfile: \"{root}/unbound.pid\"\n use-syslog: no\n \
         logfile: \"{root}/unbound.log\"\n num-threads: 1\n rrset-roundrobin: no\n local-zone: \"example.org.\" static\n"
    );
    let records = [
        "example.org. 3600 IN SOA ns.example.org. admin.example.org. 7 3600 900 86400 300",
        "example.org. 3600 IN NS ns.example.org.",
        "example.org. 60 IN MX 10 mail.example.org.",
        "www.example.org. 300 IN A 192.0.2.7",
        "www.example.org. 300 IN A 192.0.2.8",
        "www.example.org. 300 IN AAAA 2001:db8::7",
        "www.example.org. 60 IN TXT \"v=lab 1\" \"and more\"",
    ];
    // More than fits into 512 bytes.
    let long =
        (0..20).map(|number| format!("long.example.org. 60 IN TXT \"{number:02} {}\"", "x".repeat(60)));
    for record in records.iter().map(ToString::to_string).chain(long) {
        config.push_str(&format!(" local-data: '{record}'\n"));
    }
    config.push_str("remote-control:\n control-enable: no\n");
    let file = lab.folder().join("unbound.conf");
    std::fs::write(&file, config).unwrap();
    let net = lab.net.clone();
    lab.start(&net, "unbound", ["-d".into(), "-c".into(), file]);
    ["198.18.0.18:53", "198.18.0.28:53"].iter().for_each(|address| wait_for(lab, address));
}

/// chronyd, which answers on every address of the lab.
pub(crate) fn start_chronyd(lab: &mut Lab) {
    let root = lab.folder().display().to_string();
    let file = lab.folder().join("chrony.conf");
    let config =
        format!("local stratum 8\nallow all\ncmdport 0\nbindcmdaddress /\npidfile {root}/chronyd.pid\n");
    std::fs::write(&file, config).unwrap();
    let net = lab.net.clone();
    lab.start(&net, "chronyd", ["-4", "-d", "-x", "-u", "root", "-f", &file.display().to_string()]);
    wait_for(lab, "0.0.0.0:123");
}

/// A router that offers UPnP: miniupnpd registers itself with minissdpd, which answers searches for it.
fn start_upnp(lab: &mut Lab) {
    let root = lab.folder().display().to_string();
    let file = lab.folder().join("miniupnpd.conf");
    let config = format!(
        "ext_ifname=lo\nlistening_ip=net0\nport=5000\nuuid=8b3a41c2-5a6d-4c5e-9d51-0b5bb06f5a10\n\
         minissdpdsocket={root}/ssdp.sock\nenable_natpmp=no\n"
    );
    std::fs::write(&file, config).unwrap();
    let net = lab.net.clone();
    let [socket, pid] = ["ssdp.sock", "ssdp.pid"].map(|name| format!("{root}/{name}"));
    lab.start(&net, "minissdpd", ["-d", "-i", "net0", "-s", &socket, "-p", &pid]);
    wait_for(lab, "0.0.0.0:1900");
    let pid = format!("{root}/miniupnpd.pid");
    lab.start(&net, "miniupnpd", ["-d", "-f", &file.display().to_string(), "-P", &pid]);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !lab.in_ns(&net, "ss", ["-Hltn"]).contains(":5000 ") {
        assert!(Instant::now() < deadline, "miniupnpd does not listen");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn dns_answers_of_unbound() {
    if !have_root() {
        return;
    }
    let mut lab = lab();
    start_unbound(&mut lab);
    let arguments = |questions: &str, more: &str| {
        format!("-M dns -p 53 {more} --probe-args {questions} -f *,probe_number 198.18.0.16/28")
    };
    let header = |rcode: u64, answers: u64| {
        json!({
            "classification": "dns", "success": true, "app_success": rcode == 0, "sport": 53, "dns_qr": 1, "dns_rd": 1,
            "dns_ra": 1, "dns_aa": 1, "dns_opcode": 0, "dns_tc": 0, "dns_rcode": rcode, "dns_qdcount": 1,
            "dns_ancount": answers, "dns_parse_err": 0, "dns_unconsumed_bytes": 0,
        })
    };
    let record = |kind: &str, number: u64, ttl: u64, rdlength: u64, rdata: &str| {
        json!({
            "name": "www.example.org", "type": number, "type_str": kind, "class": 1, "ttl": ttl, "rdlength": rdlength,
            "rdata_is_parsed": 1, "rdata": rdata,
        })
    };
    let question = |name: &str, kind: &str, number: u64| json!([{ "name": name, "qtype": number, "qtype_str": kind, "qclass": 1 }]);
    let a = [record("A", 1, 300, 4, "192.0.2.7"), record("A", 1, 300, 4, "192.0.2.8")];
    let aaaa = record("AAAA", 28, 300, 16, "2001:db8::7");
    let txt = record("TXT", 16, 60, 17, "v=lab 1and more");
    let both = |found: &[Value], case: &str| {
        let found: Vec<_> = found.iter().map(|reply| reply["saddr"].as_str().unwrap().to_owned()).collect();
        assert_eq!(found, ["198.18.0.18", "198.18.0.28"], "{case}");
    };
    for (kind, number, answers) in
        [("A", 1, &a[..]), ("AAAA", 28, std::slice::from_ref(&aaaa)), ("TXT", 16, std::slice::from_ref(&txt))]
    {
        let found = replies(&lab, &arguments(&format!("{kind},www.example.org"), ""));
        // If no program listens, the kernel says so.
        let refused = found.iter().filter(|reply| reply["icmp_unreach_str"] == "port unreachable");
        assert_eq!((refused.count(), found.len()), (14, 16), "{kind}");
        let found: Vec<_> = successes(&found).into_iter().cloned().collect();
        both(&found, kind);
        for reply in &found {
            assert_has(reply, header(0, answers.len() as u64), kind);
            assert_eq!(reply["dns_questions"], question("www.example.org", kind, number));
            let mut records = reply["dns_answers"].as_array().unwrap().clone();
            records.sort_by_key(|record| record["rdata"].to_string());
            assert_eq!(records, answers, "{kind}");
            let raw = reply["raw_data"].as_str().unwrap();
            assert_eq!(raw.len() as u64 / 2 + 8, reply["udp_len"].as_u64().unwrap());
            assert_eq!(u64::from_str_radix(&raw[..4], 16).unwrap(), reply["dns_id"].as_u64().unwrap());
        }
    }

    // Several questions: copies ask them in turn, and each answer is matched to its question.
    let found = replies(
        &lab,
        &arguments("A,www.example.org;AAAA,www.example.org;TXT,www.example.org", "-P 6 --successes-only"),
    );
    // A target is a success once.
    both(&found, "several questions");
    let filter = "--dedup-method none --output-filter success=1";
    let found = replies(
        &lab,
        &arguments(
            "A,www.example.org;AAAA,www.example.org;TXT:nr,www.example.org",
            &format!("-P 6 {filter}"),
        ),
    );
    assert_eq!(found.len(), 12);
    for reply in &found {
        let expected =
            [("A", 1), ("AAAA", 28), ("TXT", 16)][reply["probe_number"].as_u64().unwrap() as usize % 3];
        assert_eq!(reply["dns_questions"], question("www.example.org", expected.0, expected.1));
        assert_eq!(reply["dns_rd"], u64::from(expected.0 != "TXT"), "what :nr says");
        assert!(reply["dns_answers"].as_array().unwrap().iter().all(|record| record["type"] == expected.1));
    }

    let found = replies(&lab, &arguments("A,none.example.org", filter));
    both(&found, "no such name");
    for reply in &found {
        assert_has(reply, header(3, 0), "no such name");
        let authority = &reply["dns_authorities"][0];
        assert_eq!((&authority["name"], &authority["type_str"]), (&json!("example.org"), &json!("SOA")));
        assert_eq!(authority["rdata"], "ns.example.org admin.example.org 7 3600 900 86400 300");
    }

    let found = replies(&lab, &arguments("TXT,long.example.org", filter));
    both(&found, "truncated");
    for reply in &found {
        let expected = json!({ "dns_tc": 1, "dns_rcode": 0, "app_success": true, "dns_parse_err": 0 });
        assert_has(reply, expected, "truncated");
        let held = reply["dns_answers"].as_array().unwrap().len() as u64;
        assert_eq!(held, reply["dns_ancount"].as_u64().unwrap());
        assert!(held < 20 && reply["udp_len"].as_u64().unwrap() <= 512 + 8, "{reply}");
    }

    // The application's successes are fewer than the answers, and counted separately.
    let scanned =
        lab.survey("-q -r 10000 -c 2 -M dns -p 53 --probe-args A,none.example.org -f saddr 198.18.0.16/28");
    assert_eq!((scanned.number("/success_unique"), scanned.number("/app_success_unique")), (2, 0));
}

/// Every field of NTP is at its place and in its byte order: a clock that is set to ours says so.
#[test]
fn ntp_answers_of_chronyd() {
    if !have_root() {
        return;
    }
    let mut lab = lab();
    start_chronyd(&mut lab);
    let found = replies(&lab, "-M ntp -p 123,124 -f * 198.18.0.0/27");
    let (answers, refused): (Vec<_>, Vec<_>) = found.iter().partition(|reply| reply["success"] == true);
    assert_eq!((answers.len(), refused.len()), (32, 32));
    assert!(refused.iter().all(|reply| reply["classification"] == "icmp" && reply.get("stratum").is_none()));
    // Since 1900, of which 2^32 seconds are an era (RFC 5905, section 6).
    const UNIX_EPOCH_S: u64 = 2_208_988_800;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() + UNIX_EPOCH_S;
    let mut cookies = BTreeSet::new();
    for reply in answers {
        let expected = json!({
            "classification": "ntp", "sport": 123, "LI_VN_MODE": 0x24, "stratum": 8, "root_delay": 0,
            // What chronyd calls its local clock.
            "reference_clock_identifier": 0x7f7f_0101_u32,
        });
        assert_has(reply, expected, "chronyd");
        let number = |name: &str| reply[name].as_u64().unwrap();
        let [reference, received, sent] =
            ["reference_timestamp", "receive_timestamp", "transmit_timestamp"].map(number);
        for timestamp in [reference, received, sent] {
            assert!(((timestamp >> 32) as u32).abs_diff(now as u32) < 120, "{reply}");
        }
        assert!(received <= sent && sent - received < 1 << 32, "{reply}");
        assert!((0xe0..=0xff).contains(&number("precision")), "a power of two below a second: {reply}");
        cookies.insert(number("originate_timestamp"));
    }
    assert_eq!(cookies.len(), 32, "what each probe carried");
}

#[test]
fn upnp_answers_of_minissdpd() {
    if !have_root() {
        return;
    }
    let mut lab = lab();
    let gateway = lab.in_ns(&lab.net, "cat", ["/sys/class/net/net0/address"]);
    let scan = format!("-M upnp -p 1900 -G {}", gateway.trim());
    // A host that answers something else is distinguished from a device.
    let other = lab.thread_in(&lab.net, || {
        let socket = std::net::UdpSocket::bind("198.18.0.40:1900").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let (_, from) = socket.recv_from(&mut [0; 2000]).unwrap();
        socket.send_to(b"NOTIFY * HTTP/1.1\r\n\r\n", from).unwrap();
    });
    wait_for(&lab, "198.18.0.40:1900");
    let found = replies(&lab, &format!("{scan} -f classification,success,server,saddr 198.18.0.40"));
    other.join().unwrap();
    let expected = json!({ "classification": "no-http-header", "success": false, "saddr": "198.18.0.40" });
    assert_eq!(found, [expected]);

    start_upnp(&mut lab);
    let found = replies(&lab, &format!("{scan} -f * 198.19.0.2"));
    assert_eq!(found.len(), 1, "{found:?}");
    let expected = json!({
        "saddr": "198.19.0.2", "classification": "upnp", "success": true, "sport": 1900,
        "location": "http://198.19.0.2:5000/rootDesc.xml", "st": "upnp:rootdevice", "ext": "",
        "usn": "uuid:8b3a41c2-5a6d-4c5e-9d51-0b5bb06f5a10::upnp:rootdevice",
    });
    assert_has(&found[0], expected, "minissdpd");
    let server = found[0]["server"].as_str().unwrap();
    assert!(server.contains("UPnP/1.1") && server.contains("MiniUPnPd/"), "{server}");
    let data = found[0]["data"].as_str().unwrap();
    assert!(data.starts_with("485454502f312e3120323030204f4b0d0a") && data.ends_with("0d0a0d0a"), "{data}");
    // Versions of minissdpd differ in how long an answer holds.
    let control = found[0]["cache_control"].as_str().unwrap();
    let hex: String = control.bytes().map(|byte| format!("{byte:02x}")).collect();
    assert!(control.starts_with("max-age=") && data.contains(&hex), "{control}");
}

/// The device of bacpypes3 takes the wildcard of ANSI/ASHRAE 135, clause 12.11, for a device that it does not have; the
/// other one here knows it for itself.
const BACNET_DEVICES: &str = r#"
import asyncio, sys
from bacpypes3.app import Application
from bacpypes3.argparse import SimpleArgumentParser
from bacpypes3.primitivedata import ObjectIdentifier

class Device(Application):
    async def do_ReadPropertyRequest(self, apdu):
        if apdu.objectIdentifier == ObjectIdentifier("device,4194303"):
            apdu.objectIdentifier = self.device_object.objectIdentifier
        await super().do_ReadPropertyRequest(apdu)

async def serve():
    devices = []
    for kind, address in zip([Application, Device], sys.argv[1:]):
        arguments = ["--address", address + "/32", "--name", "lab", "--instance", "4711"]
        devices.append(kind.from_args(SimpleArgumentParser().parse_args(arguments)))
    await asyncio.Future()

asyncio.run(serve())
"#;

#[test]
fn bacnet_devices() {
    if !have_root() {
        return;
    }
    let mut lab = lab();
    let net = lab.net.clone();
    lab.start(&net, "python3", ["-c", BACNET_DEVICES, "198.18.0.24", "198.18.0.25"]);
    ["198.18.0.24:47808", "198.18.0.25:47808"].iter().for_each(|address| wait_for(&lab, address));
    let found = replies(&lab, "-M bacnet -p 47808 -f * 198.18.0.24/30");
    assert_eq!(found.len(), 4, "{found:?}");
    for (reply, payload) in found.iter().zip([
        // Error: of the class object, unknown object.
        "810a000d01005000 0c9101911f",
        // Acknowledgement: the object-identifier of device 4711 is device 4711.
        "810a001701003000 0c0c02001267194b3ec4020012673f",
    ]) {
        let expected = json!({ "classification": "bacnet", "success": true, "sport": 47808 });
        assert_has(reply, expected, payload);
        let (before, behind) = payload.split_once(' ').unwrap();
        let found = reply["udp_payload"].as_str().unwrap();
        // The invoke id between them is the probe's.
        let before = &before[..before.len() - 2];
        assert_eq!(found.len(), before.len() + 2 + behind.len(), "{found}");
        assert!(found.starts_with(before) && found.ends_with(behind), "{found}");
    }
    assert!(found[2..].iter().all(|reply| reply["icmp_unreach_str"] == "port unreachable"), "{found:?}");
}

/// Debian's zmap finds the same servers and reports the same about them, in CSV, in JSON and in its default mode.
#[test]
fn agrees_with_zmap() {
    if !have_root() {
        return;
    }
    let mut lab = lab();
    start_unbound(&mut lab);
    start_chronyd(&mut lab);
    let gateway = lab.in_ns(&lab.net, "cat", ["/sys/class/net/net0/address"]);
    // A, www.example.org.
    let query = "hex:123401000001000000000000037777770765786 16d706c65036f72670000010001".replace(' ', "");
    let udp = format!("-M udp -p 53 --probe-args={query}");
    let upnp = "saddr,classification,success,server,location,usn,st,ext,sport,data,ttl";
    for (arguments, fields, targets, count) in [
        (udp.as_str(), "saddr,classification,success,sport,udp_pkt_size,ttl", "198.18.0.0/26", 2),
        ("-M ntp -p 123 --probe-args=hex:00", "saddr,classification,success,sport,ttl", "198.18.0.0/28", 16),
        ("-M upnp -p 1900", upnp, "198.19.0.2", 1),
    ] {
        // Not earlier: it announces itself to the whole network, and zmap takes that for answers.
        if arguments.contains("upnp") {
            start_upnp(&mut lab);
        }
        let ours = |more: &str| {
            let arguments = format!("-q -r 5000 -c 2 -G {} {arguments} {more} {targets}", gateway.trim());
            let scanned = lab.survey(&arguments);
            assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
            scanned.results
        };
        for (format, rows) in [("csv", csv_rows as fn(&str) -> Vec<Row>), ("json", json_rows)] {
            let more = format!("-O {format} -f {fields}");
            let of_servers = |rows: Vec<Row>| -> BTreeSet<Row> {
                rows.into_iter().filter(|row| row["success"] == "1").collect()
            };
            let of_servers = |written: &str| of_servers(rows(written));
            let all = |written: &str| of_servers(written).len() == count;
            let theirs = zmap(&lab, &format!("{arguments} {more} {targets}"), all);
            assert_eq!(of_servers(&ours(&more)), of_servers(&theirs), "{arguments} {format}");
        }
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
        let all = |written: &str| lines(written).len() == count;
        let theirs = lines(&zmap(&lab, &format!("{arguments} {targets}"), all));
        assert_eq!(lines(&ours("")), theirs, "{arguments}");
    }
}
