//! Manual pages, in the language of man(7).
//!
//! clap's generator writes the parts that follow from a grammar: name, synopsis, description, options. What a help ends
//! with (examples, exit codes), it would run together as one paragraph, so that is set here, as is what the help does
//! not have: the modules, files, and the other pages.

use clap::{Arg, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use super::commands;
use crate::cli;
use crate::plan::DEFAULT_BLOCKLIST;
use crate::probe::MODULES;
use crate::results::sink::Module;

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// What the generator begins each part with: which apostrophe the formatter has.
const PREAMBLE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";
/// The name of the page about config files.
const CONFIG_PAGE: (&str, &str) = ("xdpmap.conf", "5");

/// The page of a scan.
pub(super) fn scan() -> String {
    let mut page = Page::of_command("xdpmap", "xdpmap", cli::command());
    page.section("PROBE MODULES");
    page.paragraph(
        "These are the values of --probe-module. With --list-output-fields, xdpmap explains the fields of the module's \
         results.",
    );
    for module in MODULES {
        page.entry([bold(module.name)], module.help);
    }
    page.section("OUTPUT MODULES");
    page.paragraph("These are the values of --output-module.");
    for module in Module::ALL {
        page.entry([bold(module.name())], module.help());
    }
    page.section("ENVIRONMENT");
    page.entry(
        [bold("XDPMAP_"), italic("OPTION")],
        "Sets an option of a scan, in capitals and with _ for -, such as XDPMAP_RATE=5000. Flags take precedence over \
         the environment, and the environment over config files.",
    );
    page.section("FILES");
    page.entry(
        [bold(cli::SYSTEM_FILE)],
        "Options of all users, and those of the user in ~/.config/xdpmap/xdpmap.conf.",
    );
    page.entry(
        [bold(DEFAULT_BLOCKLIST)],
        "Networks that are never probed, where no other block list is given.",
    );
    page.entry(
        [bold("/run/xdpmap/"), italic("PID"), bold(".sock")],
        "The socket through which xdpmap ctl controls a scan of root.",
    );
    let others = commands().into_iter().map(|(word, _)| (format!("xdpmap-{word}"), "1"));
    page.see_also(others.chain([(CONFIG_PAGE.0.to_owned(), CONFIG_PAGE.1)]));
    page.text
}

/// The page of a command beside a scan, and the word that selects it.
pub(super) fn command((word, command): (&str, Command)) -> String {
    let words = format!("xdpmap {word}");
    // A command that only leads to one other is described with that.
    let only = match &command.get_subcommands().collect::<Vec<_>>()[..] {
        [only] => Some((*only).clone()),
        _ => None,
    };
    let (words, command) = match only {
        Some(only) => (
            format!("{words} {}", only.get_name()),
            only.about(command.get_about().cloned().unwrap_or_default()),
        ),
        None => (words, command),
    };
    let mut page = Page::of_command(&format!("xdpmap-{word}"), &words, command);
    page.see_also([("xdpmap".to_owned(), "1"), (CONFIG_PAGE.0.to_owned(), CONFIG_PAGE.1)]);
    page.text
}

/// The page of config files.
pub(super) fn config_file() -> String {
    let mut command = cli::command();
    command.build();
    let mut page = Page::new(CONFIG_PAGE.0, CONFIG_PAGE.1);
    page.section("NAME");
    page.paragraph("xdpmap.conf - options of xdpmap, in the format of zmap.conf");
    page.section("DESCRIPTION");
    for paragraph in [
        "A config file sets options of a scan: the flags of xdpmap(1) without their dashes, one per line. Flags take \
         precedence over the environment (XDPMAP_RATE=5000), the environment over the user's file, and that file over \
         the system's. A file that is named with --config replaces both. xdpmap --print-config prints the options in \
         force and where each was set; its output is again a config file.",
        "A line is a name, a name and a value, or both with = between them. A # starts a comment. A value with \
         blanks or a # is put in quotes. Nothing is special between single quotes. Between double quotes, \\\" is a \
         quote, \\\\ a backslash and \\n a line feed. An option that is on or off stands alone, or has the value yes \
         or no.",
    ] {
        page.paragraph(paragraph);
    }
    let mut heading = None;
    for arg in cli::in_config_files(&command) {
        if heading != arg.get_help_heading() {
            heading = arg.get_help_heading();
            page.section(&heading.unwrap_or("Options").to_uppercase());
        }
        page.option(arg);
    }
    page.section("FILES");
    page.entry([bold(cli::SYSTEM_FILE)], "The system's file.");
    page.entry(
        [bold("~/.config/xdpmap/xdpmap.conf")],
        "The user's file; in $XDG_CONFIG_HOME, if that is set.",
    );
    page.see_also([("xdpmap".to_owned(), "1")]);
    page.text
}

/// A page, as far as it is written.
struct Page {
    text: String,
}

impl Page {
    /// A page with its title only. `section` is the number of its section of the manual.
    fn new(name: &str, section: &str) -> Self {
        // The date is left out, for the same page every day. The generator would leave out its place as well.
        let title = format!(".TH {} {section} \"\" \"xdpmap {VERSION}\" \"xdpmap\"\n", name.to_uppercase());
        Self { text: format!("{PREAMBLE}{title}") }
    }

    /// The page `name` of a command that is written as `words`, up to its exit codes.
    fn of_command(name: &str, words: &str, command: Command) -> Self {
        let mut page = Self::new(name, "1");
        let mut command = command.bin_name(words).display_name(name).disable_help_subcommand(true);
        let usage = command.render_usage().to_string();
        let usage = usage.trim().trim_start_matches("Usage: ").to_owned();
        let end = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let man = Man::new(command.override_usage(usage));
        let mut parts = Vec::new();
        // What is written to memory arrives there.
        let written = man
            .render_name_section(&mut parts)
            .and_then(|()| man.render_synopsis_section(&mut parts))
            .and_then(|()| man.render_description_section(&mut parts))
            .and_then(|()| man.render_options_section(&mut parts));
        debug_assert!(written.is_ok());
        page.text.push_str(&String::from_utf8_lossy(&parts).replace(PREAMBLE, ""));
        page.end_of_help(&end);
        page
    }

    fn add(&mut self, roff: &Roff) {
        self.text.push_str(&roff.render().replace(PREAMBLE, ""));
    }

    fn section(&mut self, heading: &str) {
        self.text.push_str(&format!(".SH \"{heading}\"\n"));
    }

    fn paragraph(&mut self, text: impl Into<Inline>) {
        let mut roff = Roff::new();
        // The first of a section needs no distance from it.
        if !self.text.lines().last().is_some_and(|line| line.starts_with(".SH")) {
            roff.control("PP", []);
        }
        roff.text([text.into()]);
        self.add(&roff);
    }

    /// A term, and the paragraphs that explain it, one per line of `text`. A line that begins with blanks is a row of a
    /// term of its own and its meaning.
    fn entry(&mut self, term: impl Into<Vec<Inline>>, text: &str) {
        let mut roff = Roff::new();
        roff.control("TP", []).text(term);
        for (i, line) in text.lines().enumerate() {
            if let Some((term, meaning)) = line.strip_prefix("  ").and_then(|row| row.split_once("  ")) {
                roff.control("RS", []).control("TP", []).text([bold(term)]);
                roff.text([roman(meaning.trim_start())]).control("RE", []);
                continue;
            }
            if i > 0 {
                roff.control("IP", []);
            }
            roff.text([roman(line)]);
        }
        self.add(&roff);
    }

    /// An option as config files have it.
    fn option(&mut self, arg: &Arg) {
        let mut term = vec![bold(arg.get_long().unwrap_or_default())];
        if arg.get_action().takes_values() {
            let names = arg.get_value_names().unwrap_or_default();
            term.extend([roman(" "), italic(names.join(" "))]);
        }
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let help = match defaults.is_empty() || !arg.get_action().takes_values() {
            true => help,
            false => format!("{help} [default: {}]", defaults.join(",")),
        };
        let values = match arg.is_hide_possible_values_set() || !arg.get_action().takes_values() {
            true => vec![],
            false => arg.get_possible_values(),
        };
        let shown = values.iter().filter(|value| !value.is_hide_set());
        let value = |value: &clap::builder::PossibleValue| match value.get_help() {
            Some(help) => format!("\n{}: {help}", value.get_name()),
            None => format!("\n{}", value.get_name()),
        };
        let text: String = [help].into_iter().chain(shown.map(value)).collect();
        self.entry(term, &text);
    }

    /// What a help ends with: headings with rows of a term and its meaning, and paragraphs.
    fn end_of_help(&mut self, text: &str) {
        for block in text.split("\n\n").map(str::trim_end).filter(|block| !block.is_empty()) {
            let (first, rows) = block.split_once('\n').unwrap_or((block, ""));
            let Some(heading) = first.strip_suffix(':').filter(|_| !rows.is_empty()) else {
                self.section("NOTES");
                self.paragraph(block);
                continue;
            };
            // The usual name of this section.
            let heading = heading.to_uppercase().replace("EXIT CODES", "EXIT STATUS");
            self.section(&heading);
            for row in rows.lines().map(str::trim) {
                match row.split_once("  ") {
                    Some((term, meaning)) => self.entry([bold(term)], meaning.trim_start()),
                    None => self.paragraph(bold(row)),
                }
            }
        }
    }

    fn see_also(&mut self, pages: impl IntoIterator<Item = (String, &'static str)>) {
        self.section("SEE ALSO");
        let mut roff = Roff::new();
        let mut line: Vec<Inline> = vec![];
        for (name, section) in pages {
            if !line.is_empty() {
                line.push(roman(", "));
            }
            line.extend([bold(name), roman(format!("({section})"))]);
        }
        roff.text(line);
        self.add(&roff);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_help_becomes_sections() {
        let mut page = Page::new("x", "1");
        page.end_of_help(
            "Examples:\n  x -a  does a\n  x -b\n\nExit codes:\n  0  done\n  10  not\n\nBe kind.",
        );
        let (_, sections) = page.text.split_once("\"xdpmap\"\n").unwrap();
        let expected = ".SH \"EXAMPLES\"\n.TP\n\\fBx \\-a\\fR\ndoes a\n.PP\n\\fBx \\-b\\fR\n\
                        .SH \"EXIT STATUS\"\n.TP\n\\fB0\\fR\ndone\n.TP\n\\fB10\\fR\nnot\n.SH \"NOTES\"\nBe kind.\n";
        assert_eq!(sections, expected);
    }

    /// Names, values and defaults are those of the grammar, in the sections of the help.
    #[test]
    fn config_files_have_what_the_command_line_has() {
        let page = config_file();
        for words in [
            ".SH \"SCAN\"\n",
            "\\fBrate\\fR \\fIPPS|auto\\fR\n",
            "[default: 10000]",
            "\nzerocopy: AF_XDP; the driver",
            ".TP\n\\fBquiet\\fR\nPrint no status line; with ",
        ] {
            assert!(page.contains(words), "{words}: {page}");
        }
        for absent in [
            "\\fBgenerate",
            "\\fBprint\\-config",
            "\\fBlist\\-output",
            "\\fBsummary",
            "\\fBhelp",
            "\\fBversion",
        ] {
            assert!(!page.contains(absent), "{absent}");
        }
    }

    /// A module's arguments are rows of their own.
    #[test]
    fn rows_within_an_entry() {
        let page = scan();
        assert!(
            page.contains(".RS\n.TP\n\\fBsocket\\fR\nor its Unix socket\n.RE\n.RS\n.TP\n\\fBdb\\fR\n"),
            "{page}"
        );
    }

    #[test]
    fn one_preamble_and_title() {
        for page in [scan(), config_file(), command(commands().remove(0))] {
            assert!(page.starts_with(PREAMBLE), "{page}");
            assert_eq!((page.matches(".ie ").count(), page.matches(".TH ").count()), (1, 1));
        }
    }

    /// `checkpoint` has one command of its own, and no page that only leads to another.
    #[test]
    fn a_command_within_a_command() {
        let found = commands().into_iter().find(|(word, _)| *word == "checkpoint").unwrap();
        let page = command(found);
        assert!(page.contains("\\fBxdpmap checkpoint show\\fR [OPTIONS] <FILE>\n"), "{page}");
        assert!(page.contains("Show what a scan") && page.contains("\\fB\\-\\-json\\fR"), "{page}");
    }
}
