//! Which module of the library may import which: held against the list of rooms in `src/lib.rs`.
//!
//! A room is a module at the top of the library, or a crate below it (`crates/`), by the name of its folder. It may
//! import from rooms below it in that list, and files of one folder do not import each other in a circle. A folder's
//! `mod.rs` is its head: it puts the files together and holds what they share, so what goes between it and them does
//! not count. Tests are held to the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use support::read;

/// Rooms of which the first imports nothing from the second, although it is above: a back end knows templates and
/// patches, not probes, and only its tests use the real ones; a frame may go to any address.
const APART: [(&str, &str); 2] = [("io", "probe"), ("wire", "targets")];

/// A module's or an item's path within the library; the library itself is empty.
type Name = Vec<String>;

/// A path that stands in the code.
#[derive(Debug)]
struct Mention {
    /// The module that it stands in, be it a file or a part of one.
    module: Name,
    /// As it is written.
    path: Name,
}

/// One file's import of something that is in another.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Import {
    from: Name,
    to: Name,
    is_test: bool,
    path: String,
}

/// A file's words and signs, or those between two brackets, and how far they have been taken.
struct Tokens {
    all: Vec<TokenTree>,
    at: usize,
}

impl Tokens {
    fn of(stream: TokenStream) -> Self {
        Self { all: stream.into_iter().collect(), at: 0 }
    }

    fn next(&mut self) -> Option<TokenTree> {
        self.at += 1;
        self.all.get(self.at - 1).cloned()
    }

    fn peek(&self, ahead: usize) -> Option<&TokenTree> {
        self.all.get(self.at + ahead)
    }

    /// The sign that stands so far ahead.
    fn sign(&self, ahead: usize) -> Option<char> {
        match self.peek(ahead)? {
            TokenTree::Punct(sign) => Some(sign.as_char()),
            _ => None,
        }
    }

    /// Takes the next token if it is a word.
    fn word(&mut self) -> Option<String> {
        let TokenTree::Ident(word) = self.peek(0)? else { return None };
        let word = word.to_string();
        self.at += 1;
        Some(word)
    }

    /// Takes what is between these brackets, if they come next, or behind the `!` of an attribute.
    fn group(&mut self, delimiter: Delimiter) -> Option<TokenStream> {
        let ahead = usize::from(self.sign(0) == Some('!'));
        let inner = match self.peek(ahead)? {
            TokenTree::Group(group) if group.delimiter() == delimiter => group.stream(),
            _ => return None,
        };
        self.at += ahead + 1;
        Some(inner)
    }
}

/// The modules of the library and of the crates below it.
#[derive(Default)]
struct House {
    /// The crates below it.
    crates: BTreeSet<String>,
    /// Those that are a file.
    files: BTreeSet<Name>,
    /// All of them.
    modules: BTreeSet<Name>,
    /// Those that only tests have.
    tests: BTreeSet<Name>,
    /// What `use` makes known in each module, by the name that it has there.
    known: BTreeMap<(Name, String), Name>,
    mentions: Vec<Mention>,
}

impl House {
    /// The modules of these files, each with its path below `src`, behind the crate's name if it is not the library's.
    fn of(sources: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut house = Self::default();
        for (path, text) in sources {
            let name = path.trim_end_matches(".rs").split('/').map(str::to_owned);
            let name: Name = name.filter(|part| part != "mod" && part != "lib").collect();
            let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{path}: {error}"));
            house.crates.extend(path.strip_suffix("/lib.rs").map(str::to_owned));
            house.files.insert(name.clone());
            house.modules.insert(name.clone());
            house.take_module(&name, tokens);
        }
        house
    }

    fn take_module(&mut self, module: &Name, tokens: TokenStream) {
        let mut tokens = Tokens::of(tokens);
        let (mut for_tests, mut is_using) = (false, false);
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Ident(word) if word == "mod" => {
                    let Some(TokenTree::Ident(name)) = tokens.next() else { continue };
                    let inner = child(module, &name.to_string());
                    if for_tests {
                        self.tests.insert(inner.clone());
                    }
                    if let Some(body) = tokens.group(Delimiter::Brace) {
                        self.modules.insert(inner.clone());
                        self.take_module(&inner, body);
                    }
                    for_tests = false;
                }
                TokenTree::Ident(word) if word == "use" => is_using = true,
                TokenTree::Ident(word) => {
                    self.take_path(module, vec![word.to_string()], &mut tokens, is_using);
                }
                TokenTree::Punct(sign) if sign.as_char() == '#' => {
                    if let Some(attribute) = tokens.group(Delimiter::Bracket) {
                        for_tests |= attribute.to_string().replace(' ', "") == "cfg(test)";
                        self.take_module(module, attribute);
                    }
                }
                // What goes on from a type, or begins with another crate.
                TokenTree::Punct(sign) if sign.as_char() == ':' && tokens.sign(0) == Some(':') => {
                    tokens.next();
                    tokens.next();
                }
                TokenTree::Punct(sign) if sign.as_char() == ';' => (for_tests, is_using) = (false, false),
                TokenTree::Group(group) => {
                    for_tests &= group.delimiter() != Delimiter::Brace;
                    self.take_module(module, group.stream());
                }
                _ => {}
            }
        }
    }

    /// Goes on with a path whose first parts are `path`; where it branches, with each of its branches.
    fn take_path(&mut self, module: &Name, mut path: Name, tokens: &mut Tokens, is_using: bool) {
        while tokens.sign(0) == Some(':') && tokens.sign(1) == Some(':') {
            tokens.at += 2;
            if let Some(branches) = tokens.group(Delimiter::Brace) {
                return self.take_branches(module, &path, branches);
            }
            let Some(part) = tokens.word() else { break };
            path.push(part);
        }
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        if is_using {
            let is_renamed = matches!(tokens.peek(0), Some(TokenTree::Ident(word)) if word == "as");
            tokens.at += usize::from(is_renamed);
            let alias = if is_renamed { tokens.word() } else { path.last().cloned() };
            self.known.insert((module.clone(), alias.unwrap_or_default()), path.clone());
        }
        if path.len() > 1 || is_using {
            self.mentions.push(Mention { module: module.clone(), path });
        }
    }

    fn take_branches(&mut self, module: &Name, path: &Name, branches: TokenStream) {
        let mut tokens = Tokens::of(branches);
        while let Some(token) = tokens.next() {
            if let TokenTree::Ident(part) = token {
                self.take_path(module, child(path, &part.to_string()), &mut tokens, true);
            }
        }
    }

    /// The module in which what `path` names in `module` is, if it is of the library or of a crate below it.
    fn target(&self, module: &Name, path: &[String], depth: u32) -> Option<Name> {
        let (first, mut rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" => module.iter().take(1).filter(|name| self.crates.contains(*name)).cloned().collect(),
            "self" => module.clone(),
            "super" => parent(module)?,
            name if self.modules.contains(&child(module, name)) => child(module, name),
            name => {
                let below = || self.crates.contains(name).then(|| vec![name.to_owned()]);
                self.behind_name(module, name, depth).or_else(below)?
            }
        };
        while let Some((part, after)) = rest.split_first() {
            at = match part.as_str() {
                "super" => parent(&at)?,
                name if self.modules.contains(&child(&at, name)) => child(&at, name),
                name => return Some(self.behind_name(&at, name, depth).unwrap_or(at)),
            };
            rest = after;
        }
        Some(at)
    }

    /// The module that something is in which a `use` of `module` makes known as `name`.
    fn behind_name(&self, module: &Name, name: &str, depth: u32) -> Option<Name> {
        let path = self.known.get(&(module.clone(), name.to_owned()))?;
        // Names that lead to each other in a ring are those of other crates.
        if depth == 8 { None } else { self.target(module, path, depth + 1) }
    }

    /// The file that a module is in.
    fn file(&self, module: &Name) -> Name {
        let lengths = (0..=module.len()).rev();
        lengths.map(|len| module[..len].to_vec()).find(|name| self.files.contains(name)).unwrap_or_default()
    }

    /// What one file imports from another, but for a folder's head and what is in the folder.
    fn imports(&self) -> BTreeSet<Import> {
        let import = |mention: &Mention| {
            let target = self.target(&mention.module, &mention.path, 0)?;
            let (from, to) = (self.file(&mention.module), self.file(&target));
            let is_test = (0..=mention.module.len()).any(|len| self.tests.contains(&mention.module[..len]));
            let is_between = !from.starts_with(&to) && !to.starts_with(&from);
            is_between.then(|| Import { from, to, is_test, path: mention.path.join("::") })
        };
        self.mentions.iter().filter_map(import).collect()
    }

    /// What is wrong with the imports, if the rooms are in this order, the highest first.
    fn complaints(&self, order: &[String], apart: &[(&str, &str)]) -> Vec<String> {
        let rooms: BTreeSet<&String> = self.files.iter().filter_map(|name| name.first()).collect();
        let unlisted = rooms.iter().filter(|room| !order.contains(room));
        let mut complaints: Vec<String> = unlisted.map(|room| format!("{room} is not in the list")).collect();
        let absent = order.iter().filter(|room| !rooms.contains(room));
        complaints.extend(absent.map(|room| format!("{room} is in the list, and there is no such room")));
        let place = |room: &str| order.iter().position(|listed| listed == room);
        let imports = self.imports();
        let mut folders: BTreeMap<Name, Vec<&Import>> = BTreeMap::new();
        for import in &imports {
            let depth = import.from.iter().zip(&import.to).take_while(|(from, to)| from == to).count();
            let (from, to) = (&import.from[depth], &import.to[depth]);
            if depth > 0 {
                folders.entry(import.from[..depth].to_vec()).or_default().push(import);
            } else if place(to) < place(from) {
                complaints.push(format!("{import} imports from {to}, which is above {from}"));
            } else if !import.is_test && apart.contains(&(from.as_str(), to.as_str())) {
                complaints.push(format!("{import} imports from {to}, which only its tests may"));
            }
        }
        complaints.extend(folders.iter().filter_map(|(folder, imports)| circle(folder, imports)));
        complaints
    }
}

/// `engine::worker (super::scan::Way)`
impl std::fmt::Display for Import {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.from.join("::"), self.path)
    }
}

/// The circles among these imports between the files of a folder, in words.
fn circle(folder: &Name, imports: &[&Import]) -> Option<String> {
    let mut left = imports.to_vec();
    let part = |name: &Name| name[folder.len()].clone();
    loop {
        let from: BTreeSet<String> = left.iter().map(|import| part(&import.from)).collect();
        let to: BTreeSet<String> = left.iter().map(|import| part(&import.to)).collect();
        let before = left.len();
        left.retain(|import| from.contains(&part(&import.to)) && to.contains(&part(&import.from)));
        if left.len() == before {
            break;
        }
    }
    let mut text = format!("a circle in {}:", folder.join("::"));
    for import in &left {
        let _ = write!(text, " {} -> {},", import, import.to.join("::"));
    }
    (!left.is_empty()).then_some(text)
}

fn child(module: &Name, name: &str) -> Name {
    module.iter().cloned().chain([name.to_owned()]).collect()
}

fn parent(module: &Name) -> Option<Name> {
    module.split_last().map(|(_, above)| above.to_vec())
}

/// The rooms that the documentation of the library lists, in its order.
fn listed(library: &str) -> Vec<String> {
    let room = |line: &str| Some(line.strip_prefix("//! - [`")?.split_once("`]")?.0.to_owned());
    library.lines().filter_map(room).collect()
}

/// All sources of the library, and of the crates below it, with their paths as in [`House::of`].
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = sources_in(&root.join("src"), "");
    for folder in std::fs::read_dir(root.join("../crates")).unwrap().map(|entry| entry.unwrap()) {
        let name = folder.file_name().into_string().unwrap();
        sources.extend(sources_in(&folder.path().join("src"), &format!("{name}/")));
    }
    sources
}

/// The sources in `root`, with their paths below it behind `prefix`.
fn sources_in(root: &Path, prefix: &str) -> Vec<(String, String)> {
    let (mut folders, mut sources) = (vec![root.to_owned()], vec![]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let path = format!("{prefix}{}", entry.strip_prefix(root).unwrap().to_str().unwrap());
            if entry.is_dir() {
                folders.push(entry);
            } else if path.ends_with(".rs") && path != "main.rs" {
                sources.push((path, read(&entry)));
            }
        }
    }
    sources
}

#[test]
fn imports_follow_the_order_of_the_rooms() {
    let sources = sources();
    let library = sources.iter().find(|(path, _)| path == "lib.rs").unwrap();
    let order = listed(&library.1);
    let house = House::of(sources);
    let imports = house.imports();
    assert!(imports.len() > 500, "only {} imports were found", imports.len());
    let complaints = house.complaints(&order, &APART);
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

fn house(files: &[(&str, &str)]) -> House {
    House::of(files.iter().map(|&(path, text)| (path.to_owned(), text.to_owned())))
}

fn complaints(files: &[(&str, &str)]) -> Vec<String> {
    house(files).complaints(&["top", "middle", "bottom"].map(str::to_owned), &[("top", "bottom")])
}

#[test]
fn imports_from_above_are_seen() {
    for above in [
        "use crate::top::Thing;",
        "use crate::{bottom::Other, top::Thing as It};",
        "pub(crate) use crate::top;",
        "fn f() { g(crate::top::Thing::new(), 1) }",
        "fn f() -> impl Iterator<Item = crate::top::Thing> { println!(\"{}\", 1) }",
        "fn f() { assert!(crate::top::is_so()) }",
        "macro_rules! m { () => { $crate::top::Thing } }",
        "mod inner { use super::super::top::Thing; }",
        "use super::top::*;",
        "#[cfg(test)] mod tests { use crate::top::Thing; }",
        "#[error(\"{}\", crate::top::text())] struct Error { a: u8 }",
        "fn f(x:&crate::top::Thing) {}",
    ] {
        let found =
            complaints(&[("top.rs", "pub struct Thing;"), ("middle.rs", ""), ("bottom/mod.rs", above)]);
        assert!(
            found.len() == 1 && found[0].ends_with("from top, which is above bottom"),
            "{above}: {found:?}"
        );
    }
}

#[test]
fn crates_are_rooms() {
    let found = |bottom: &str| {
        let (part, whole) = (("bottom/part.rs", bottom), ("bottom/lib.rs", "pub mod part;"));
        complaints(&[("top.rs", "use middle::Thing;"), ("middle/lib.rs", "pub struct Thing;"), part, whole])
    };
    assert_eq!(found("use crate::other::Thing;"), [""; 0]);
    for above in ["use middle::Thing;", "fn f() { middle::Thing }", "use crate::part; use middle as m;"] {
        let found = found(above);
        assert!(
            found.len() == 1 && found[0].ends_with("from middle, which is above bottom"),
            "{above}: {found:?}"
        );
    }
    let apart = complaints(&[("top/lib.rs", "use bottom::Thing;"), ("middle.rs", ""), ("bottom/lib.rs", "")]);
    assert!(apart.len() == 1 && apart[0].ends_with("from bottom, which only its tests may"), "{apart:?}");
    let [one, other] = ["use crate::other::Other;", "use crate::one::One;"];
    let folder = [("bottom/one/mod.rs", ""), ("bottom/one/a.rs", one), ("bottom/other.rs", other)];
    let rest = [("bottom/lib.rs", ""), ("top.rs", ""), ("middle.rs", "")];
    let circle = complaints(&[&folder[..], &rest].concat());
    assert!(circle.len() == 1 && circle[0].starts_with("a circle in bottom:"), "{circle:?}");
}

#[test]
fn circles_are_seen() {
    let circle = |one, other, head| {
        let folder = [("top/one.rs", one), ("top/other.rs", other), ("top/mod.rs", head)];
        complaints(&[&folder[..], &[("middle.rs", ""), ("bottom.rs", "")]].concat())
    };
    for (one, other) in [
        ("use super::other::Other;", "use super::one::One;"),
        // By what the head hands on.
        ("use super::Other;", "fn f() { crate::top::One }"),
        ("use super::other;", "mod tests { use super::super::one::{self}; }"),
        ("use crate::top; fn f() { top::other::f() }", "use super::One as It;"),
    ] {
        let found = circle(one, other, "mod one; mod other; pub use one::One; pub use self::other::{Other};");
        assert!(found.len() == 1 && found[0].starts_with("a circle in top:"), "{one} {other}: {found:?}");
    }
    // What the head itself has, and what goes one way only, is no circle.
    let head = "pub struct Shared; use one::One;";
    assert_eq!(circle("use super::Shared;", "use super::{Shared, one::One};", head), [""; 0]);
}

#[test]
fn rooms_are_all_listed_and_kept_apart() {
    let found = complaints(&[("top.rs", ""), ("middle.rs", "use std::top::Thing;"), ("cellar/mod.rs", "")]);
    assert_eq!(found, ["cellar is not in the list", "bottom is in the list, and there is no such room"]);
    let only_tests = "#[cfg(test)] mod tests; #[cfg(test)] mod more { use crate::bottom::Thing; }";
    let apart = |code| {
        let test = ("top/tests.rs", "use crate::bottom::Thing;");
        complaints(&[
            ("top/mod.rs", code),
            test,
            ("middle.rs", "use crate::bottom::Thing;"),
            ("bottom.rs", ""),
        ])
    };
    assert_eq!(apart(only_tests), [""; 0]);
    // Its file `tests.rs` is then one of the code, too.
    assert_eq!(apart("use crate::bottom::Thing;").len(), 2);
}
