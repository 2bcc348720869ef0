//! What is sent: every probe of every module, as tshark sees it, and the file of probes compared with what reaches the
//! far side.

use std::collections::BTreeSet;
use std::path::Path;

use lab::{Lab, have_root, run};
use support::Scans as _;
use support::capture::Tcpdump;
use support::scanner::xdpmap;

/// Targets of a dry run: an odd one, one whose bytes are all ones, one in another class.
const TARGETS: &str = "198.18.0.1 198.18.255.255 203.0.113.128/30 192.0.2.7";
const TARGET_COUNT: usize = 7;

/// Flags of a dry run that needs nothing from the machine.
const DRY: &str = "-d -i lo -G 02:00:00:00:00:02 --source-mac 02:00:00:00:00:01 -S 198.19.0.1,198.19.255.255 \
                   --allow-reserved -q -v 1 -b /dev/null";

/// All modules with all their layouts and kinds of arguments; `FOLDER` is where files are.
const PROBES: &[&str] = &[
    "-M tcp_synscan -p 80,65535",
    "-M tcp_synscan -p 80,65535 --probe-args windows",
    "-M tcp_synscan -p 80,65535 --probe-args linux",
    "-M tcp_synscan -p 80,65535 --probe-args bsd",
    "-M tcp_synscan -p 80,65535 --probe-args smallest-probes",
    "-M tcp_synscan -p 80,65535 --probe-args rtt",
    "-M tcp_synscan -p 80,65535 --probe-args linux,rtt",
    "-M tcp_synscan -p 80,65535 --probe-args bsd,rtt",
    "-M tcp_synscan -p 80,65535 --probe-ttl 1 -P 3",
    "-M tcp_synackscan -p 80,65535",
    "-M icmp_echoscan",
    "-M icmp_echoscan --probe-args text:odd",
    "-M icmp_echoscan --probe-args file:FOLDER/ping",
    "-M icmp_echoscan -P 3 --probe-args hex:00",
    "-M icmp_echo_time",
    "-M icmp_echo_time -P 2",
    "-M udp -p 9,65535 --probe-args text:odd",
    "-M udp -p 9,65535 --probe-args hex:ffff",
    "-M udp -p 9,65535 --probe-args file:FOLDER/full",
    "-M udp -p 9,65535 -P 2 --probe-args template:FOLDER/template",
    // All ports that have a ready payload, and one that has none. Without the flag, a target gets probes for all of
    // them from the same port, and tshark takes them for one conversation, in the protocol of the first.
    "-M udp -p AUTO,9 --probe-args auto --validate-source-port enable",
    "-M dns -p 53,5353",
    "-M dns -p 53 -P 6 --probe-args A,www.example.com;AAAA:nr,example.com;TYPE65,.",
    "-M ntp -p 123,124",
    "-M upnp -p 1900,1901",
    "-M bacnet -p 47808,47809",
    // Not from port 53, as what they carry is no DNS.
    "-M ipip -p 9,65535",
    "-M ipip -p 9,65535 -P 2 --probe-args text:odd",
];

/// One frame, as tshark reads it.
const COLUMNS: &str = "-T fields -E separator=; -E occurrence=a -e ip.checksum.status -e tcp.checksum.status \
    -e udp.checksum.status -e icmp.checksum.status -e _ws.malformed -e _ws.expert.severity -e _ws.expert.message \
    -o ip.check_checksum:TRUE -o tcp.check_checksum:TRUE -o udp.check_checksum:TRUE";

/// A severity that stands for a warning (epan/expert.h); an error has a higher one.
const WARNING: u64 = 0x0060_0000;

/// What tshark says of the Initial packet of a QUIC version that there is not, whose answer is a list of those that
/// there are (RFC 9000, section 6): nobody decrypts it.
const UNDECRYPTED: &str = "Decryption failed: Decryption (checktag) failed: Checksum error";

/// What is wrong with the frames of a capture, and how many there are.
fn faults(file: &Path) -> (usize, Vec<String>) {
    let file = file.display().to_string();
    let text = run("tshark", ["-n", "-r", file.as_str()].into_iter().chain(COLUMNS.split_whitespace()));
    let mut faults = vec![];
    for (number, line) in text.lines().enumerate() {
        let column: Vec<&str> = line.split(';').collect();
        // 1 is good; 2 is bad, 0 and 3 are not known.
        let sums = column[..4].join(",");
        let good = sums.split(',').filter(|status| !status.is_empty()).all(|status| status == "1");
        let severe = |severity: &str| severity.parse::<u64>().is_ok_and(|severity| severity >= WARNING);
        // It stands beside notes of less weight, such as that a port in 33434.. may be a traceroute's.
        let severe = column[5].split(',').filter(|severity| severe(severity)).count();
        let is_severe = severe > usize::from(column[6].ends_with(UNDECRYPTED));
        let two = column[..4].iter().filter(|status| !status.is_empty()).count() >= 2;
        if !good || !two || !column[4].is_empty() || is_severe {
            faults.push(format!("frame {}: {line}", number + 1));
        }
    }
    (text.lines().count(), faults)
}

/// The longest range of ports among which the scanner draws its own, of which tshark takes none for a protocol's: it
/// reads what comes from such a port in that protocol, whatever was meant for the other port.
fn source_ports_without_meaning() -> String {
    let taken: BTreeSet<u16> = run("tshark", ["-G", "decodes"])
        .lines()
        .filter_map(|line| line.strip_prefix("udp.port\t")?.split('\t').next()?.parse().ok())
        .collect();
    assert!(taken.contains(&53), "{taken:?}");
    let (first, end) = (32768, 61000);
    let taken: Vec<u16> = taken.into_iter().filter(|port| (first..=end).contains(port)).collect();
    let ends = [&[first - 1], &taken[..], &[end + 1]].concat();
    let longest = ends.windows(2).max_by_key(|pair| pair[1] - pair[0]).unwrap();
    format!("{}-{}", longest[0] + 1, longest[1] - 1)
}

/// Nothing malformed, no wrong checksum: of IP, TCP, UDP and ICMP, outside and inside of IP in IP.
#[test]
fn tshark_finds_no_fault_in_any_probe() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    write("ping", &[0xa5; 1458]);
    write("full", &[0xff; 1472]);
    let template = "${SADDR_N}${SADDR}${DADDR_N}${DADDR}${SPORT_N}${SPORT}${DPORT_N}${DPORT}${RAND_BYTE=7}\
                    ${RAND_DIGIT=3}${RAND_ALPHA=2}${RAND_ALPHANUM=5}${HEX=00ff}${UNIXTIME_SEC}${UNIXTIME_USEC}\
                    ${NTP_TIMESTAMP}";
    write("template", template.as_bytes());
    let ports: Vec<String> =
        xdpmap::probe::udp::auto::all().iter().map(|entry| entry.0.to_string()).collect();
    assert!(ports.len() >= 30, "{ports:?}");
    let source_ports = source_ports_without_meaning();
    for (number, probes) in PROBES.iter().enumerate() {
        let file = folder.path().join(format!("{number}.pcap"));
        let arguments =
            probes.replace("FOLDER", &folder.path().display().to_string()).replace("AUTO", &ports.join(","));
        let value = |flag: &str| {
            arguments.split_whitespace().skip_while(|word| *word != flag).nth(1).map(str::to_owned)
        };
        let copies: usize = value("-P").map_or(1, |copies| copies.parse().unwrap());
        let ports = value("-p").map_or(1, |ports| ports.split(',').count());
        let output = xdpmap()
            .args(["--source-port", &source_ports])
            .args(
                DRY.split_whitespace().chain(arguments.split_whitespace()).chain(TARGETS.split_whitespace()),
            )
            .arg("--probes-file")
            .arg(&file)
            .output()
            .unwrap();
        assert!(output.status.success(), "{probes}: {}", String::from_utf8_lossy(&output.stderr));
        let (count, faults) = faults(&file);
        assert_eq!(count, TARGET_COUNT * ports * copies, "{probes}");
        assert!(faults.is_empty(), "{probes}: {faults:#?}");
    }
}

/// The frames of a capture file, each as its bytes.
fn frames(file: &Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(file).unwrap();
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let mut frames = vec![];
    let mut at = 24;
    while at < bytes.len() {
        let len = number(at + 8);
        assert_eq!(len, number(at + 12), "whole frames");
        frames.push(bytes[at + 16..at + 16 + len].to_vec());
        at += 16 + len;
    }
    frames
}

/// Captures what comes from the scanning side while `work` runs.
fn arrived(lab: &Lab, work: impl FnOnce()) -> Vec<Vec<u8>> {
    let tcpdump = Tcpdump::start(lab, &lab.net, "net0", 512, &[], "ip and src host 198.19.0.1");
    work();
    frames(&tcpdump.end())
}

/// The file of probes holds what the far side receives, byte for byte, whichever back end sent it.
#[test]
fn the_file_of_probes_is_what_arrives() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(2);
    for (name, arguments, count) in [
        ("copy", "--io-mode copy -M udp -p 9,11 -P 2 --probe-args text:hello", 4 * 2048),
        ("generic", "--io-mode generic -M dns -p 53", 2048),
        ("syn", "--io-mode copy --no-rst -p 80 --probe-args linux,rtt", 2048),
    ] {
        let file = lab.folder().join(format!("{name}.probes"));
        let arguments =
            format!("-q -r 20000 -c 1 {arguments} --probes-file {} 198.18.128.0/21", file.display());
        let frames_there = arrived(&lab, || {
            let scanned = lab.survey(&arguments);
            assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
            assert_eq!(scanned.number("/probes_missed"), 0);
            assert_eq!(scanned.number("/packets_sent"), count);
        });
        let here = frames(&file);
        assert_eq!((here.len() as u64, frames_there.len() as u64), (count, count), "{name}");
        let [here, there] = [here, frames_there].map(|frames| frames.into_iter().collect::<BTreeSet<_>>());
        assert_eq!(here.len() as u64, count, "each is another");
        assert!(here == there, "{name}: other bytes arrived");
    }
    for (arguments, what) in [
        ("--probes-file -", "--probes-file"),
        ("--probes-file /no/such/folder/probes", "--probes-file: cannot open"),
        ("--probes-file same -o same", "--probes-file: same is also --output-file"),
    ] {
        let output = lab.xdpmap(&format!("-p 80 {arguments} 198.18.0.0/30")).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.contains(what), "{arguments}: {stderr}");
    }
}
