//! The log: lines `Mon DD HH:MM:SS.mmm [LEVEL] component: text`, as ZMap writes them, on stderr or in a file, and also
//! in the system's log.
//!
//! There is one line per event, and lines are written whole. The component is the last module of the event's target.
//! Control characters in a text are escaped, so that nothing from the network or a file can control the terminal or
//! forge a line. Passwords in URLs are hidden.

mod sinks;
mod syslog;

use std::fmt::{self, Write as _};
use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::OnceLock;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

pub use self::sinks::LogError;
use self::sinks::Sinks;
use crate::local_time;
use crate::secrets::redacted;

/// Where this process logs, once that is known.
static SINKS: OnceLock<Sinks> = OnceLock::new();

const RESET: &str = "\x1b[0m";

/// How much is logged (`--verbosity`): 0 fatal, 1 error, 2 warn, 3 info, 4 debug, 5 trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Verbosity(u8);

impl Default for Verbosity {
    fn default() -> Self {
        Self(3)
    }
}

impl Verbosity {
    /// The verbosity with this number; `None` above 5.
    pub fn new(number: u8) -> Option<Self> {
        (number <= 5).then_some(Self(number))
    }

    /// The number.
    pub fn number(self) -> u8 {
        self.0
    }

    /// The levels that pass: none at 0, where only [`fatal`] is written.
    fn filter(self) -> LevelFilter {
        match self.0 {
            0 => LevelFilter::OFF,
            1 => LevelFilter::ERROR,
            2 => LevelFilter::WARN,
            3 => LevelFilter::INFO,
            4 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        }
    }
}

/// How and where a process logs.
#[derive(Clone, Copy, Debug)]
pub struct LogSettings<'a> {
    /// Which levels.
    pub verbosity: Verbosity,
    /// A file to append to, instead of stderr (`--log-file`).
    pub file: Option<&'a Path>,
    /// A folder for a new file, instead of stderr (`--log-directory`).
    pub directory: Option<&'a Path>,
    /// Whether the same lines go to the system's log, if there is one.
    pub syslog: bool,
}

/// Starts logging for the whole process. Lines are coloured if stderr is a terminal, unless `NO_COLOR` is set and not
/// empty (<https://no-color.org>).
///
/// # Errors
/// The file cannot be opened, or logging has been started before.
pub fn init(settings: &LogSettings<'_>) -> Result<(), LogError> {
    let opened = Sinks::open(settings)?;
    let coloured = !opened.has_file() && coloured();
    let sinks = SINKS.get_or_init(|| opened);
    tracing::subscriber::set_global_default(subscriber(settings.verbosity, coloured, sinks))
        .map_err(|_| LogError::Started)
}

/// A subscriber that writes ZMap's lines to `writer`.
pub fn subscriber<W>(verbosity: Verbosity, coloured: bool, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .with_max_level(verbosity.filter())
        .with_ansi(coloured)
        .with_writer(writer)
        .event_format(Line)
        .finish()
}

/// Runs `work` before logging is started. Events meanwhile go to stderr.
pub fn on_stderr<T>(work: impl FnOnce() -> T) -> T {
    let subscriber = subscriber(Verbosity::default(), coloured(), std::io::stderr);
    tracing::subscriber::with_default(subscriber, work)
}

/// Writes the line of an error that ends the process, with level FATAL, which tracing does not have. It is written at
/// every verbosity, and always to stderr, even if the log goes elsewhere. Does not end the process.
pub fn fatal(component: &str, text: &str) {
    let mut line = String::new();
    let head = Head { level: "FATAL", colour: coloured().then_some("\x1b[31m"), component };
    // Writing to a string cannot fail.
    let _ = write_line(&mut line, &head, |line| write!(line, "{text}"));
    sinks::to_stderr(line.as_bytes());
    if let Some(sinks) = SINKS.get() {
        sinks.copy_fatal(&line);
    }
}

fn coloured() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !refused && std::io::stderr().is_terminal()
}

/// Formats an event as a line.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let (level, colour) = match *metadata.level() {
            Level::ERROR => ("ERROR", "\x1b[35m"),
            Level::WARN => ("WARN", "\x1b[33m"),
            Level::INFO => ("INFO", "\x1b[32m"),
            Level::DEBUG => ("DEBUG", "\x1b[34m"),
            Level::TRACE => ("TRACE", RESET),
        };
        let target = metadata.target();
        let component = target.rsplit("::").next().unwrap_or(target);
        let head = Head { level, colour: writer.has_ansi_escapes().then_some(colour), component };
        write_line(&mut writer, &head, |line| {
            let mut fields = Fields { line, first: true, result: Ok(()) };
            event.record(&mut fields);
            fields.result
        })
    }
}

/// The start of a line.
struct Head<'a> {
    level: &'a str,
    /// Escape sequence for the line's colour, if it has one.
    colour: Option<&'a str>,
    component: &'a str,
}

fn write_line(
    out: &mut dyn fmt::Write,
    head: &Head<'_>,
    text: impl FnOnce(&mut Escaped<'_>) -> fmt::Result,
) -> fmt::Result {
    let now = local_time::now();
    let now = now.strftime("%b %d %H:%M:%S%.3f");
    write!(out, "{}{now} [{}] {}: ", head.colour.unwrap_or_default(), head.level, head.component)?;
    let mut line = String::new();
    text(&mut Escaped { out: &mut line })?;
    out.write_str(&redacted(&line))?;
    out.write_str(if head.colour.is_some() { "\x1b[0m\n" } else { "\n" })
}

/// Passes text on with control characters escaped.
struct Escaped<'a> {
    out: &'a mut dyn fmt::Write,
}

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some((place, control)) = rest.char_indices().find(|(_, c)| c.is_control()) {
            write!(self.out, "{}{}", &rest[..place], control.escape_default())?;
            rest = &rest[place + control.len_utf8()..];
        }
        self.out.write_str(rest)
    }
}

/// Writes an event's message, and its other fields as `name=value`.
struct Fields<'a, 'w> {
    line: &'a mut Escaped<'w>,
    first: bool,
    result: fmt::Result,
}

impl Visit for Fields<'_, '_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.record_debug(field, &format_args!("{value}"));
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.result.is_err() {
            return;
        }
        let space = if self.first { "" } else { " " };
        self.first = false;
        self.result = match field.name() {
            "message" => write!(self.line, "{space}{value:?}"),
            name => write!(self.line, "{space}{name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(verbosity: u8, coloured: bool, events: impl FnOnce()) -> String {
        let shared = Shared::default();
        let to = shared.clone();
        let verbosity = Verbosity::new(verbosity).unwrap();
        tracing::subscriber::with_default(subscriber(verbosity, coloured, move || to.clone()), events);
        let bytes = shared.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    /// `Mon DD HH:MM:SS.mmm` with every letter as A and every digit as 0, and the rest unchanged.
    fn masked(line: &str) -> String {
        let (time, rest) = line.split_at(19);
        let mask = |c: char| {
            if c.is_ascii_digit() {
                '0'
            } else if c.is_ascii_alphabetic() {
                'A'
            } else {
                c
            }
        };
        time.chars().map(mask).chain(rest.chars()).collect()
    }

    #[test]
    fn lines() {
        let log = logged(3, false, || {
            tracing::info!(target: "xdpmap::engine::worker", queue = 3, name = "x y", "it goes");
            tracing::debug!("not heard");
        });
        assert_eq!(masked(&log), "AAA 00 00:00:00.000 [INFO] worker: it goes queue=3 name=\"x y\"\n");
        assert_eq!(
            masked(&logged(2, false, || tracing::warn!(target: "plan", "a {}", 1))),
            "AAA 00 00:00:00.000 [WARN] plan: a 1\n"
        );
    }

    #[test]
    fn colours() {
        let log = logged(1, true, || tracing::error!(target: "io", "bad"));
        let line = log.strip_prefix("\x1b[35m").and_then(|rest| rest.strip_suffix("\x1b[0m\n")).unwrap();
        assert_eq!(masked(line), "AAA 00 00:00:00.000 [ERROR] io: bad");
    }

    #[test]
    fn control_characters_are_escaped() {
        let log = logged(3, false, || tracing::info!(target: "io", "a\nb\x1b[2J\u{9b}é"));
        assert_eq!(masked(&log), "AAA 00 00:00:00.000 [INFO] io: a\\nb\\u{1b}[2J\\u{9b}é\n");
    }

    #[test]
    fn passwords_are_hidden() {
        let log = logged(
            3,
            false,
            || tracing::info!(target: "io", url = "redis://:secret@h", "at {}", "r://a:secret@h"),
        );
        assert!(log.contains("at r://a:***@h") && !log.contains("secret"), "{log}");
    }

    #[test]
    fn verbosity() {
        let all = || {
            tracing::error!("1");
            tracing::warn!("2");
            tracing::info!("3");
            tracing::debug!("4");
            tracing::trace!("5");
        };
        for number in 0..=5 {
            assert_eq!(logged(number, false, all).lines().count(), usize::from(number));
        }
        assert_eq!(Verbosity::new(6), None);
        assert_eq!(Verbosity::default().number(), 3);
    }
}
