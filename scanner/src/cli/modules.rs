//! The part of `--help` about the selected probe module and output module.

use crate::probe::MODULES;
use crate::results::sink::Module;

/// Longest line, in characters.
const WIDTH: usize = 100;

/// The text for the modules with these names; the output module's default is csv. Unknown names add nothing.
pub(super) fn help(probe: Option<&str>, output: Option<&str>) -> String {
    let mut text = String::new();
    if let Some(module) = MODULES.iter().find(|module| Some(module.name) == probe) {
        text.push_str(&format!("\nProbe module {}:\n{}", module.name, indented(module.help)));
    }
    let output = output.unwrap_or("csv");
    if let Some(module) = Module::ALL.iter().find(|module| module.name() == output) {
        text.push_str(&format!("\nOutput module {module}:\n{}", indented(module.help())));
    }
    text
}

/// A text wrapped to the help's width and indented by two blanks.
fn indented(text: &str) -> String {
    let mut lines = String::new();
    for paragraph in text.lines() {
        let mut len = 0;
        for word in paragraph.split_whitespace() {
            let start = match len {
                0 => "  ",
                _ if len + 1 + word.chars().count() > WIDTH => "\n  ",
                _ => " ",
            };
            len = if start == " " { len + 1 } else { 2 } + word.chars().count();
            lines.push_str(start);
            lines.push_str(word);
        }
        lines.push('\n');
    }
    lines
}
