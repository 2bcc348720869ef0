//! Facts about interfaces, routes and neighbours, as the kernel of a real network namespace reports them.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use lab::{Lab, have_root, run};
use support::scanner::binary;
use support::{Scans as _, read};
use wire::packet::MacAddr;
use wire::proof::{Echo, Key, PortRange, ProbeForm};
use xdpmap::exit::Exit;
use xdpmap::io::bpf::{AttachMode, ProgramSettings, XdpProgram};
use xdpmap::nic::{
    Interface, InterfaceAddress, NicError, NoWay, XdpHolder, default_interface, neighbor, route_to,
};
use xdpmap::plan::network_text;

const GATEWAY: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 2);
const OURS: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 1);
const TARGET: Ipv4Addr = Ipv4Addr::new(198, 18, 3, 4);

/// Runs `work` in the scanning namespace.
fn inside<T: Send + 'static>(lab: &Lab, work: impl FnOnce() -> T + Send + 'static) -> T {
    lab.thread_in(&lab.scan, work).join().unwrap()
}

/// The output of `ip` about a link.
fn link(ns: &str, name: &str) -> serde_json::Value {
    let text = run("ip", ["-n", ns, "-d", "-j", "link", "show", "dev", name]);
    serde_json::from_str::<serde_json::Value>(&text).unwrap()[0].clone()
}

fn mac(ns: &str, name: &str) -> MacAddr {
    link(ns, name)["address"].as_str().unwrap().parse().unwrap()
}

fn ip(ns: &str, arguments: &str) {
    run("ip", ["-n", ns].into_iter().chain(arguments.split(' ')));
}

#[test]
fn facts_by_name() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(4);
    ip(&lab.scan, "link set scan0 mtu 1400");
    ip(&lab.scan, "addr add 203.0.113.9/24 dev scan0");
    let known = link(&lab.scan, "scan0");
    let interface = inside(&lab, || Interface::by_name("scan0")).unwrap();
    assert_eq!(interface.name, "scan0");
    assert_eq!(u64::from(interface.index), known["ifindex"]);
    assert_eq!(interface.mac, Some(mac(&lab.scan, "scan0")));
    assert_eq!(interface.mtu, 1400);
    assert_eq!(interface.rx_queues, 4);
    assert_eq!(interface.driver.as_deref(), Some("veth"));
    assert_eq!((interface.numa_node, &interface.xdp), (None, &None));
    assert_eq!(
        interface.addresses,
        [
            InterfaceAddress { address: OURS, prefix_len: 30 },
            InterfaceAddress { address: Ipv4Addr::new(203, 0, 113, 9), prefix_len: 24 },
        ],
        "the primary one first"
    );
    assert!(interface.has_address(OURS) && !interface.has_address(GATEWAY));
    let networks: Vec<String> = interface.on_link_prefixes().map(|range| range.to_string()).collect();
    assert_eq!(networks, ["198.19.0.0/30", "203.0.113.0/24"]);
}

/// Down, and up without a peer, are distinguished.
#[test]
fn states() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let state = |lab: &Lab| {
        let interface = inside(lab, || Interface::by_name("scan0")).unwrap();
        (interface.is_up, interface.has_carrier)
    };
    assert_eq!(state(&lab), (true, true));
    ip(&lab.net, "link set net0 down");
    assert_eq!(state(&lab), (true, false));
    ip(&lab.scan, "link set scan0 down");
    assert_eq!(state(&lab), (false, false));
}

#[test]
fn an_unknown_interface_is_told_with_those_that_exist() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let error = inside(&lab, || Interface::by_name("scan1")).unwrap_err();
    assert!(matches!(&error, NicError::Unknown { name, .. } if name == "scan1"), "{error:?}");
    assert_eq!(error.exit_code(), Exit::Interface);
    assert!(error.to_string().ends_with("there is lo, scan0"), "{error}");
}

/// An interface's other names lead to it, and are among those that exist.
#[test]
fn an_interface_has_other_names() {
    const OTHER: &str = "enp0s31f6-longer-than-the-kernels";
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    ip(&lab.scan, &format!("link property add dev scan0 altname {OTHER}"));
    let interface = inside(&lab, || Interface::by_name(OTHER)).unwrap();
    assert_eq!(
        (interface.name.as_str(), interface.other_names.as_slice()),
        ("scan0", [OTHER.to_owned()].as_slice())
    );
    let error = inside(&lab, || Interface::by_name("scan1")).unwrap_err();
    assert!(error.to_string().ends_with(&format!("there is lo, scan0, {OTHER}")), "{error}");
    let scanned = lab.survey_on(OTHER, "-p 80 -c 1 -f saddr 198.18.0.0/28");
    assert_eq!((scanned.output.status.code(), scanned.lines().len()), (Some(0), 16), "{}", scanned.stderr());
    assert_eq!(scanned.metadata["iface"], "scan0");
    assert!(scanned.stderr().contains(&format!("scan0 is also called {OTHER}")), "{}", scanned.stderr());
    let twice = lab.survey_on(&format!("scan0,{OTHER}"), "-p 80 198.18.0.0/28");
    assert_eq!(twice.output.status.code(), Some(4), "{}", twice.stderr());
    assert!(twice.stderr().contains("name one of them"), "{}", twice.stderr());
}

#[test]
fn the_default_route_leads_to_interface_and_gateway() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let (interface, route, on_link) = inside(&lab, || {
        let interface = default_interface().unwrap();
        let route = |to| route_to(to, interface.index, None).unwrap().unwrap();
        (interface.clone(), route(TARGET), route(GATEWAY))
    });
    assert_eq!(interface.name, "scan0");
    assert_eq!((route.interface, route.gateway), (interface.index, Some(GATEWAY.into())));
    assert_eq!(route.preferred_source, Some(OURS));
    assert_eq!((on_link.interface, on_link.gateway), (interface.index, None));

    // A narrower route takes precedence over the default, and its source address over the primary address.
    ip(&lab.scan, "addr add 198.19.7.1/24 dev scan0");
    ip(&lab.scan, "route add 198.18.0.0/16 via 198.19.7.9 src 198.19.7.1");
    let route = inside(&lab, || route_to(TARGET, default_interface().unwrap().index, None));
    let route = route.unwrap().unwrap();
    assert_eq!(route.gateway, Some(Ipv4Addr::new(198, 19, 7, 9).into()));
    assert_eq!(route.preferred_source, Some(Ipv4Addr::new(198, 19, 7, 1)));

    ip(&lab.scan, "route del 198.18.0.0/16");
    ip(&lab.scan, "route del default");
    let (default, route) = inside(&lab, || {
        let index = Interface::by_name("scan0").unwrap().index;
        (default_interface(), route_to(TARGET, index, None))
    });
    assert!(matches!(default, Err(NicError::NoDefaultRoute)), "{default:?}");
    assert_eq!(route.unwrap(), Err(NoWay::NoRoute), "there is no gateway any more");
}

/// The kernel's own discovery finds a gateway that is not in its table.
#[test]
fn the_gateway_is_resolved_from_an_empty_table() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    ip(&lab.scan, "neigh flush all");
    let gateway = mac(&lab.net, "net0");
    let (before, resolved, after) = inside(&lab, || {
        let interface = Interface::by_name("scan0").unwrap();
        let lookup = || neighbor::lookup(&interface, GATEWAY.into()).unwrap();
        let before = lookup();
        (before, neighbor::resolve(&interface, GATEWAY.into(), Duration::from_secs(3)), lookup())
    });
    assert_eq!(before, None, "the table is empty");
    assert_eq!((resolved.unwrap(), after), (gateway, Some(gateway)));
}

/// A permanent entry is trusted, and one of another interface is not.
#[test]
fn the_table_is_read_for_the_interface_asked_for() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    ip(&lab.scan, "neigh replace 198.19.0.2 lladdr 02:00:00:00:00:77 nud permanent dev scan0");
    let (of_ours, of_lo) = inside(&lab, || {
        let lookup = |name| neighbor::lookup(&Interface::by_name(name).unwrap(), GATEWAY.into()).unwrap();
        (lookup("scan0"), lookup("lo"))
    });
    assert_eq!(of_ours, Some("02:00:00:00:00:77".parse().unwrap()));
    assert_eq!(of_lo, None);
}

#[test]
fn a_gateway_that_does_not_answer_is_given_up_in_time() {
    if !have_root() {
        return;
    }
    let timeout = Duration::from_millis(700);
    for spoil in ["no such host", "peer down"] {
        let lab = Lab::new(1);
        let gateway = match spoil {
            "no such host" => {
                ip(&lab.scan, "addr add 198.19.1.1/24 dev scan0");
                Ipv4Addr::new(198, 19, 1, 77)
            }
            _ => {
                ip(&lab.net, "link set net0 down");
                ip(&lab.scan, "neigh flush all");
                GATEWAY
            }
        };
        let (outcome, took) = inside(&lab, move || {
            let interface = Interface::by_name("scan0").unwrap();
            let started = Instant::now();
            (neighbor::resolve(&interface, gateway.into(), timeout), started.elapsed())
        });
        let error = outcome.unwrap_err();
        assert_eq!(error.exit_code(), Exit::Interface, "{spoil}");
        let text = network_text(&error);
        assert!(text.contains("scan0") && text.contains(&gateway.to_string()), "{spoil}: {text}");
        assert!(text.contains("--gateway-mac"), "{spoil}: {text}");
        assert!(took < timeout + Duration::from_secs(1), "{spoil}: {took:?}");
        // A silence is not remembered: the same gateway answers once it is there.
        if spoil == "no such host" {
            ip(&lab.net, "addr add 198.19.1.77/24 dev net0");
            let found = inside(&lab, move || {
                let interface = Interface::by_name("scan0").unwrap();
                neighbor::resolve(&interface, gateway.into(), Duration::from_secs(3)).unwrap()
            });
            assert_eq!(found, mac(&lab.net, "net0"));
        }
    }
}

/// The holder of XDP is named with the kernel's ID of its program, in either mode.
#[test]
fn the_holder_of_xdp_is_found() {
    if !have_root() {
        return;
    }
    for (mode, word) in [(AttachMode::Native, "native"), (AttachMode::Generic, "generic")] {
        let lab = Lab::new(1);
        let scan = lab.scan.clone();
        let (holder, known) = inside(&lab, move || {
            let sources = [OURS];
            let ports = PortRange { first: 40_000, count: 10 };
            let key = Key::from_bytes([7; 16]);
            let settings = ProgramSettings {
                key,
                ports,
                copies: wire::proof::Copies::of(1),
                form: ProbeForm::TcpSyn,
                port_in_cookie: true,
                echo: Echo::Nothing,
                drop_invalid: false,
                own_sockets: true,
                sources: &sources,
                tags: wire::packet::VlanTags::default(),
            };
            let mut program = XdpProgram::load(&settings).unwrap();
            program.attach(Interface::by_name("scan0").unwrap().index, mode).unwrap();
            (Interface::by_name("scan0").unwrap().xdp, link(&scan, "scan0")["xdp"]["prog"]["id"].clone())
        });
        let id = u32::try_from(known.as_u64().unwrap()).unwrap();
        assert_eq!(holder, Some(XdpHolder { id, mode: word }));
        let deadline = Instant::now() + Duration::from_secs(5);
        while inside(&lab, || Interface::by_name("scan0").unwrap().xdp).is_some() {
            assert!(Instant::now() < deadline, "the program went with its owner");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// `-G` replaces a gateway that cannot be resolved, `--source-mac` the interface's own address: both are on the wire,
/// and the replies arrive.
#[test]
fn given_addresses_go_before_those_found() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(1);
    let (gateway, own) = (mac(&lab.net, "net0"), mac(&lab.scan, "scan0"));
    // Neither a route to the targets nor a neighbour is left to find anything by.
    ip(&lab.scan, "route del default");
    ip(&lab.scan, "neigh flush all");
    let scanned = lab.survey(&format!("-p 80 -n 20 -c 1 -q -f saddr -G {gateway} 198.18.0.0/24"));
    assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
    assert_eq!(scanned.lines().len(), 20, "{}", scanned.stderr());
    assert_eq!(scanned.metadata["gateway_mac"], gateway.to_string());
    assert_eq!(scanned.metadata.get("gateway_ip"), None);
    assert_eq!(scanned.metadata["source_mac"], own.to_string());
    assert_eq!(scanned.metadata["source_ips"], serde_json::json!(["198.19.0.1"]));

    // To a MAC address that no host has, no reply comes back.
    let scanned = lab.survey("-p 80 -n 20 -c 1 -q -f saddr -G 02:00:00:00:00:77 198.18.0.0/24");
    assert_eq!((scanned.output.status.code(), scanned.lines().len()), (Some(0), 0), "{}", scanned.stderr());
    assert_eq!(scanned.number("/packets_sent"), 20);

    let arguments = format!("-p 80 -n 1 -c 0 -q -G {gateway} --source-mac 02:00:00:00:00:55 198.18.0.0/24");
    assert_eq!(lab.survey(&arguments).metadata["source_mac"], "02:00:00:00:00:55");
}

/// Queues that are allocated but not in use get no socket.
#[test]
fn queues_in_use_are_counted() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(4);
    lab.in_ns(&lab.scan, "ethtool", ["-L", "scan0", "rx", "2", "tx", "2"]);
    let scanned = lab.survey("-p 80 -n 50 -c 1 -q -f saddr 198.18.0.0/24");
    assert_eq!(scanned.output.status.code(), Some(0), "{}", scanned.stderr());
    assert_eq!((scanned.number("/rx_queues"), scanned.lines().len()), (2, 50));
    // What ethtool says of the driver, and the kernel of its clock.
    let said = lab.in_ns(&lab.scan, "ethtool", ["-i", "scan0"]);
    for (name, key) in [("driver", "driver"), ("version", "driver_version"), ("firmware-version", "firmware")]
    {
        let line = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let text = line.filter(|text| !text.is_empty());
        assert_eq!(scanned.metadata.get(key).map(|value| value.as_str().unwrap()), text, "{name}: {said}");
    }
    let source = Path::new("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    assert_eq!(scanned.metadata["clock"]["source"], read(source).trim());
    assert!(scanned.number("/clock/error_max_us") > 0);
}

/// A queue without a transmit side is not given to a sender, whatever the mode: the kernel would accept its frames,
/// send none, and report nothing. Replies that arrive on it are received.
#[test]
fn queues_that_cannot_send_only_receive() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(4);
    lab.in_ns(&lab.scan, "ethtool", ["-L", "scan0", "rx", "4", "tx", "1"]);
    for mode in ["auto", "copy", "generic"] {
        // Bounded, for without a sender that can send it would never end.
        let options = format!("-p 80 -T 2 -r 5000 -c 1 -q -f saddr --max-runtime 20 --io-mode {mode}");
        let scanned = lab.survey(&format!("{options} 198.18.0.0/21"));
        assert_eq!((scanned.output.status.code(), scanned.lines().len()), (Some(0), 2048), "{mode}");
        assert_eq!(scanned.metadata["end_reason"], "complete", "{mode}: {}", scanned.stderr());
        assert_eq!((scanned.number("/senders"), scanned.number("/rx_queues")), (1, 4), "{mode}");
        let received = (1..4).map(|socket| scanned.number(&format!("/sockets/{socket}/received")));
        assert!(received.sum::<u64>() > 0, "{mode}: {}", scanned.metadata["sockets"]);
        let said = "scan0 has 4 RX queues and 1 TX queues, so at most 1 can send";
        assert!(scanned.stderr().contains(said), "{mode}: {}", scanned.stderr());
    }
    let doctor = lab.shielded().args([binary(), "doctor", "-i", "scan0"]).output().unwrap();
    let doctor = String::from_utf8(doctor.stdout).unwrap();
    assert!(doctor.contains("but only 1 can send") && doctor.contains("> ethtool -L scan0 tx 4"), "{doctor}");
    let refused = lab.survey("-p 80 -n 1 -c 0 -q --queues 1-3 198.18.0.0/24");
    assert_eq!(refused.output.status.code(), Some(2), "{}", refused.stderr());
    assert!(
        refused.stderr().contains("--queues: scan0 sends on its first 1 queues only"),
        "{}",
        refused.stderr()
    );
    // A packet socket belongs to no queue.
    let scanned = lab.survey("-p 80 -T 2 -c 1 -q -f saddr --io-mode packet 198.18.0.0/24");
    assert_eq!((scanned.number("/senders"), scanned.lines().len()), (2, 256), "{}", scanned.stderr());
}
