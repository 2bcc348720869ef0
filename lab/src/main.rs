//! The program `lab`: makes and removes labs for users, the demo and the benchmarks.
//!
//! What always holds: when `up` fails, and when `run` or `hold` ends, nothing of the lab is left.

use std::io::{self, BufWriter, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, ExitCode, ExitStatus};

use lab::{Error, Far, HOSTS, Lab, Settings, tools};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

const HELP: &str = "\
A lab to scan: two network namespaces and a veth pair. Nothing in it can leave the machine.

  lab up    NAME [QUEUES] [OPTION...]   make it (4 queues); xm-NAME-scan runs the scan, xm-NAME-net answers
  lab down  NAME                        remove it and its processes; no harm if there is none
  lab run   NAME [QUEUES] [OPTION...] -- COMMAND...
                                        make it, run the command on the scanning side, remove it
  lab hold  NAME [QUEUES] [OPTION...]   make it, print a line, remove it at the end of input: for programs that
                                        need a lab for as long as they live. The line has a word NAME=VALUE for
                                        each: scan and net (the namespaces), scan_interface, net_interface,
                                        source_ip, gateway_ip, gateway_mac, folder
  lab truth PORT...                     print what answers there: address,port,synack|rst

xm-NAME-net answers for 198.18.0.0/16: a real nginx on 300 addresses (port 80) and 40 (port 8080), a reset from the
kernel for the rest of 198.18.0.0/17, silence for the rest of 198.18.128.0/17. Or:

  --far kernel        without nginx
  --far silent        nothing answers; the wire's offloads stay on
  --far all:NETWORK   the kernel has all addresses of this network, with nginx on port 80 of each, and answers
                      SYNs there by cookies
  --program OBJECT    in addition, this file's XDP program receives what arrives; it and its maps are pinned in
                      /run/xdpmap-lab-NAME/bpf, the program as `program`";

/// Why a command failed.
enum Failure {
    /// The command line is wrong.
    Usage(String),
    /// The lab could not be made or removed.
    Lab(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Lab(error)
    }
}

fn main() -> ExitCode {
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    match act(&words) {
        Ok(code) => code,
        Err(Failure::Usage(said)) => {
            eprintln!("lab: {said}; see --help");
            ExitCode::from(2)
        }
        Err(Failure::Lab(error)) => {
            eprintln!("lab: {error}");
            ExitCode::FAILURE
        }
    }
}

fn act(words: &[String]) -> Result<ExitCode, Failure> {
    let Some((verb, words)) = words.split_first() else {
        return usage("give a command: up, down, run, hold or truth");
    };
    match verb.as_str() {
        "up" => {
            let asked = Asked::without_command(verb, words)?;
            Lab::named(&asked.name, &asked.settings)?.leave()?;
        }
        "down" => {
            let [name] = words else { return usage("down: name one lab") };
            check_name(name)?;
            need_root("down")?;
            Lab::remove(name)?;
        }
        "run" => {
            let asked = Asked::parse(words)?;
            if asked.command.is_empty() {
                return usage("run: give the command after --");
            }
            need_root("run")?;
            return Ok(run(Lab::named(&asked.name, &asked.settings)?, &asked.command)?);
        }
        "hold" => {
            let asked = Asked::without_command(verb, words)?;
            let lab = Lab::named(&asked.name, &asked.settings)?;
            println!("{}", lab.described()?);
            // A read error also ends the input.
            let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        }
        "truth" => return truth(words),
        "-h" | "--help" => println!("{HELP}"),
        other => return usage(format!("there is no command {other}: use up, down, run, hold or truth")),
    }
    Ok(ExitCode::SUCCESS)
}

fn usage<T>(said: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Usage(said.into()))
}

fn need_root(verb: &str) -> Result<(), Failure> {
    if geteuid().is_root() {
        return Ok(());
    }
    Err(Failure::Lab(Error::Failed(verb.to_owned(), "it needs root, for namespaces: use sudo".to_owned())))
}

/// A lab as the command line describes it.
struct Asked {
    name: String,
    settings: Settings,
    command: Vec<String>,
}

impl Asked {
    /// Parses a command line for a verb that runs no command.
    fn without_command(verb: &str, words: &[String]) -> Result<Self, Failure> {
        let asked = Self::parse(words)?;
        if !asked.command.is_empty() {
            return usage(format!("{verb} does not run a command: use run"));
        }
        need_root(verb)?;
        Ok(asked)
    }

    fn parse(words: &[String]) -> Result<Self, Failure> {
        let Some((name, mut words)) = words.split_first() else {
            return usage("give the lab a name");
        };
        check_name(name)?;
        let mut asked = Self {
            name: name.clone(),
            settings: Settings { queues: 4, far: Far::Servers, program: None },
            command: vec![],
        };
        while let Some((word, rest)) = words.split_first() {
            words = rest;
            match word.as_str() {
                "--" => {
                    asked.command = rest.to_vec();
                    break;
                }
                "--far" => asked.settings.far = far(value(word, &mut words)?)?,
                "--program" => asked.settings.program = Some(PathBuf::from(value(word, &mut words)?)),
                queues => match queues.parse() {
                    Ok(queues @ 1..=1024) => asked.settings.queues = queues,
                    _ => return usage(format!("{queues} is neither an option nor a number of queues")),
                },
            }
        }
        Ok(asked)
    }
}

/// Names are parts of file names, and of the paths of pinned maps, in which libbpf refuses dots.
fn check_name(name: &str) -> Result<(), Failure> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !name.is_empty() && name.len() <= 64 && name.bytes().all(is_plain) {
        return Ok(());
    }
    usage(format!("\"{name}\" cannot be a lab's name: use letters, digits, - and _"))
}

fn value<'a>(option: &str, words: &mut &'a [String]) -> Result<&'a str, Failure> {
    let Some((value, rest)) = words.split_first() else {
        return usage(format!("{option} needs a value"));
    };
    *words = rest;
    Ok(value)
}

fn far(side: &str) -> Result<Far, Failure> {
    match (side, side.strip_prefix("all:")) {
        ("servers", _) => Ok(Far::Servers),
        ("kernel", _) => Ok(Far::Kernel),
        ("silent", _) => Ok(Far::Silent),
        (_, Some(network)) => Ok(Far::All(network.to_owned())),
        _ => usage(format!("--far {side}: use servers, kernel, silent or all:NETWORK")),
    }
}

/// Runs a command on the scanning side, and removes the lab when it has ended. SIGTERM and SIGHUP are passed on to it;
/// Ctrl-C reaches it from the terminal, which signals both.
fn run(lab: Lab, command: &[String]) -> Result<ExitCode, Error> {
    let system = |error| Error::System("run".to_owned(), error);
    let mut signals = Signals::new([SIGCHLD, SIGHUP, SIGINT, SIGTERM]).map_err(system)?;
    let mut ip = tools::as_called("ip")?;
    let mut child = ip.args(["netns", "exec", &lab.scan]).args(command).spawn().map_err(system)?;
    let status = wait(&mut child, &mut signals).map_err(system)?;
    drop(lab);
    // The exit code as a shell reports it.
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    Ok(code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

fn wait(child: &mut Child, signals: &mut Signals) -> io::Result<ExitStatus> {
    for signal in signals.forever() {
        match signal {
            SIGCHLD => {
                if let Some(status) = child.try_wait()? {
                    return Ok(status);
                }
            }
            SIGINT => {}
            other => {
                let pid = Pid::from_raw(child.id().cast_signed());
                // The command may just have ended.
                let _ = kill(pid, Signal::try_from(other)?);
            }
        }
    }
    child.wait()
}

/// Prints the answers on these ports.
fn truth(words: &[String]) -> Result<ExitCode, Failure> {
    if words.is_empty() {
        return usage("truth: give a port, such as 80");
    }
    let mut out = BufWriter::new(io::stdout().lock());
    for word in words {
        let Ok(port) = word.parse::<u16>() else { return usage(format!("truth: {word} is not a port")) };
        for (address, answer) in HOSTS.answers(&HOSTS.listening_on(port)) {
            // The reader may have closed the pipe.
            if writeln!(out, "{address},{port},{answer}").is_err() {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
    Ok(if out.flush().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
