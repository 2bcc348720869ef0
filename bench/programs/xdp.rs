//! The cost of a packet in the XDP program, for each of its verdicts: `BPF_PROG_TEST_RUN` over one frame, many times.
//! In the same rounds it measures a program that does nothing (the floor) and filters that parse and pass.
//!
//! ```text
//! xdp --filter OBJECT [--also OBJECT]... [--packets N] [--rounds N]    prints a JSON object per case and round
//! ```
//!
//! `--also` names objects of other projects' filters, each with one program that passes the frame, for comparison.
//!
//! Needs root. Nothing is sent: the only interface is the loopback of a separate network namespace, whose queue has the
//! socket for valid replies.

#[expect(dead_code, reason = "the tests judge more frames than are measured here")]
#[path = "../../scanner/tests/kernel/fixtures.rs"]
mod fixtures;
#[path = "../../scanner/tests/kernel/frames.rs"]
mod frames;

use std::error::Error;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

use aya::programs::{TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use nix::time::{ClockId, clock_gettime};
use support::network;
use xdpmap::io::affinity;
use xdpmap::io::bpf::abi::Counter;
use xdpmap::io::bpf::{ProgramSettings, XdpProgram};

use fixtures::{PORTS, SOURCES, STRANGER, action, reply, settings};
use frames::{ACK, SYN_ACK};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The programs of `filter.bpf.c`, the floor first.
const YARDSTICKS: [&str; 3] = ["nothing", "bare_filter", "filter"];

/// The program that runs over a frame.
enum Subject<'a> {
    /// One of [`YARDSTICKS`].
    Yardstick(&'a Xdp),
    /// The scanner's program, and the counter that has to count each packet.
    Scanner(&'a XdpProgram, Counter),
}

struct Case<'a> {
    name: &'a str,
    subject: Subject<'a>,
    frame: Vec<u8>,
}

impl Case<'_> {
    /// Runs it once and returns the action.
    fn run(&self, packets: u32) -> Outcome<u32> {
        Ok(match self.subject {
            Subject::Yardstick(program) => {
                let mut options = TestRunOptions::new();
                options.data_in = Some(&self.frame);
                options.repeat = packets;
                program.test_run(options)?.return_value
            }
            Subject::Scanner(program, _) => program.test_run(&self.frame, packets)?.action,
        })
    }

    /// Fails unless the verdict is that of the case.
    fn check(&self) -> Outcome<()> {
        let expected = match self.subject {
            Subject::Yardstick(_) => {
                return if self.run(1)? == 2 {
                    Ok(())
                } else {
                    Err(format!("{} does not pass", self.name).into())
                };
            }
            Subject::Scanner(_, expected) => expected,
        };
        let Subject::Scanner(program, _) = self.subject else { return Ok(()) };
        let before = program.counters()?[expected as usize];
        let right = self.run(1)? == action(expected) && program.counters()?[expected as usize] == before + 1;
        if right { Ok(()) } else { Err(format!("{}: not the verdict {}", self.name, expected.name()).into()) }
    }

    /// CPU time of this thread per packet. It excludes the time of other processes, and unlike the kernel's own figure
    /// it has decimals.
    fn ns_per_packet(&self, packets: u32) -> Outcome<f64> {
        let start = cpu_time()?;
        self.run(packets)?;
        Ok((cpu_time()? - start).as_nanos() as f64 / f64::from(packets))
    }
}

fn cpu_time() -> Outcome<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

/// The scanner's program with the measured settings.
struct Programs {
    passing: XdpProgram,
    dropping: XdpProgram,
    /// With a gap between the source addresses, so that the map of addresses is looked up; `passing` does not need
    /// that.
    scattered: XdpProgram,
    with_socket: XdpProgram,
}

impl Programs {
    fn load() -> Outcome<Self> {
        let dense = |drop_invalid| {
            XdpProgram::load(&ProgramSettings { sources: &SOURCES[..1], ..settings(drop_invalid) })
        };
        Ok(Self {
            passing: dense(false)?,
            dropping: dense(true)?,
            scattered: XdpProgram::load(&settings(false))?,
            with_socket: dense(false)?,
        })
    }

    fn cases<'a>(&'a self, yardsticks: Vec<(&'a str, &'a Xdp)>) -> Vec<Case<'a>> {
        use Counter::*;
        let synack = reply(SYN_ACK).with(|s| s.tcp_options = vec![2, 4, 5, 180, 1, 3, 3, 8, 1, 1, 4, 2]);
        let yardstick =
            |(name, program)| Case { name, subject: Subject::Yardstick(program), frame: synack.bytes() };
        let case = |name, program, counter, change: fn(&mut frames::Segment)| Case {
            name,
            subject: Subject::Scanner(program, counter),
            frame: synack.with(change).bytes(),
        };
        let Self { passing, dropping, scattered, with_socket } = self;
        let mut cases: Vec<_> = yardsticks.into_iter().map(yardstick).collect();
        cases.extend([
            case("pass_not_ipv4", passing, PassNotIpv4, |s| s.ethertype = 0x86dd),
            case("pass_other_protocol", passing, PassOtherProtocol, |s| s.protocol = 17),
            case("pass_fragment", passing, PassFragment, |s| s.fragment = 0x2000),
            case("pass_truncated", passing, PassTruncated, |s| s.data_offset = Some(15)),
            case("pass_other_port", passing, PassOtherPort, |s| s.to_port = PORTS.first - 1),
            case("pass_other_flags", passing, PassOtherFlags, |s| s.flags = ACK),
            case("drop_other_flags", dropping, DropOtherFlags, |s| s.flags = ACK),
            case("pass_other_address", passing, PassOtherAddress, |s| s.to = STRANGER),
            case("pass_other_address-map", scattered, PassOtherAddress, |s| s.to = STRANGER),
            case("pass_bad_cookie", passing, PassBadCookie, |s| s.acknowledged += 1),
            case("drop_bad_cookie", dropping, DropBadCookie, |s| s.acknowledged += 1),
            case("valid_no_socket", passing, ValidNoSocket, |_| ()),
            case("valid_redirected", with_socket, ValidRedirected, |_| ()),
            case("valid_redirected-vlan", with_socket, ValidRedirected, |s| s.tags = vec![0x8100]),
        ]);
        cases
    }
}

/// The command line.
struct Asked {
    packets: u32,
    rounds: u32,
    filter: String,
    also: Vec<String>,
}

fn asked(mut arguments: std::env::Args) -> Outcome<Asked> {
    let mut asked = Asked { packets: 1_000_000, rounds: 11, filter: String::new(), also: Vec::new() };
    while let Some(flag) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--packets" => asked.packets = value.parse()?,
            "--rounds" => asked.rounds = value.parse()?,
            "--filter" => asked.filter = value,
            "--also" => asked.also.push(value),
            _ => return Err(format!("unknown argument {flag}").into()),
        }
    }
    Ok(asked)
}

fn yardstick<'a>(object: &'a Ebpf, name: &str) -> Outcome<&'a Xdp> {
    Ok(object.program(name).ok_or("--filter names no object with such a program")?.try_into()?)
}

/// Loads the only program of an object; returns its name.
fn load_only(object: &mut Ebpf) -> Outcome<String> {
    let (name, program) = object.programs_mut().next().ok_or("--also names an object without a program")?;
    let (name, program): (String, &mut Xdp) = (name.to_owned(), program.try_into()?);
    program.load()?;
    Ok(name)
}

fn measure(asked: &Asked) -> Outcome<()> {
    if let Some(&core) = affinity::allowed().last() {
        affinity::pin(core);
    }
    network::enter_namespace();
    let mut object = EbpfLoader::new().load_file(&asked.filter)?;
    for name in YARDSTICKS {
        let program: &mut Xdp =
            object.program_mut(name).ok_or("--filter: a program is missing")?.try_into()?;
        program.load()?;
    }
    let mut others = asked
        .also
        .iter()
        .map(|path| Ok(EbpfLoader::new().load_file(path)?))
        .collect::<Outcome<Vec<Ebpf>>>()?;
    let names = others.iter_mut().map(load_only).collect::<Outcome<Vec<String>>>()?;
    let mut programs = Programs::load()?;
    let socket = network::Socket::bind(network::index("lo"), 0);
    programs.with_socket.set_socket(0, socket.as_fd())?;
    let own = YARDSTICKS.into_iter().map(|name| Ok((name, yardstick(&object, name)?)));
    let foreign =
        names.iter().zip(&others).map(|(name, object)| Ok((name.as_str(), yardstick(object, name)?)));
    let cases = programs.cases(own.chain(foreign).collect::<Outcome<_>>()?);
    for case in &cases {
        case.check()?;
        case.run(asked.packets)?; // warms up
    }
    for round in 0..asked.rounds {
        for case in &cases {
            let ns = case.ns_per_packet(asked.packets)?;
            println!("{{\"case\":\"{}\",\"round\":{round},\"ns_per_packet\":{ns:.3}}}", case.name);
        }
    }
    Ok(())
}

/// Runs the program.
pub(crate) fn main(arguments: std::env::Args) -> ExitCode {
    match asked(arguments).and_then(|asked| measure(&asked)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xdp: {error}");
            ExitCode::from(2)
        }
    }
}
