//! Parses a filter into an expression, and checks each test against the type of its field.

use std::net::Ipv4Addr;

use targets::list::parse_range;

use super::FilterError;
use super::expression::{Expression, Node, Ranges, Test};
use super::lexer::{Lexer, Token};
use crate::reply::fields::{Field, FieldType, Table};

/// Deepest nesting of brackets and negations. Lower refuses sensible filters; higher could overflow the stack.
const DEPTH_MAX: u32 = 100;

/// How similar a name has to be to a proposed one; 1 is the same. Lower proposes unrelated names; higher misses typing
/// errors.
const ALIKE: f64 = 0.7;

pub(super) fn parse(text: &str, table: &Table) -> Result<Option<Expression>, FilterError> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let mut lexer = Lexer::new(text);
    let (token, at) = lexer.next()?;
    let mut parser = Parser { text, table, lexer, token, at, depth: 0 };
    let node = parser.any()?;
    match parser.token {
        Token::End => Ok(Some(Expression(node))),
        _ => Err(parser.expected("&& or ||, or the end,")),
    }
}

struct Parser<'a> {
    text: &'a str,
    table: &'a Table,
    lexer: Lexer<'a>,
    /// The present token, and where it begins.
    token: Token<'a>,
    at: usize,
    depth: u32,
}

/// The comparison of a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Operator {
    fn of(sign: &str) -> Option<Self> {
        Some(match sign {
            "=" | "==" => Self::Equal,
            "!=" => Self::NotEqual,
            "<" => Self::Less,
            "<=" => Self::LessOrEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterOrEqual,
            _ => return None,
        })
    }

    /// The numbers that compare so with `number`.
    fn ranges(self, number: u64) -> Ranges {
        let below = number.checked_sub(1).map(|last| (0, last));
        let above = number.checked_add(1).map(|first| (first, u64::MAX));
        Ranges::new(match self {
            Self::Equal => vec![(number, number)],
            Self::NotEqual => below.into_iter().chain(above).collect(),
            Self::Less => below.into_iter().collect(),
            Self::LessOrEqual => vec![(0, number)],
            Self::Greater => above.into_iter().collect(),
            Self::GreaterOrEqual => vec![(number, u64::MAX)],
        })
    }
}

impl<'a> Parser<'a> {
    fn advance(&mut self) -> Result<(), FilterError> {
        (self.token, self.at) = self.lexer.next()?;
        Ok(())
    }

    /// Consumes the present token if it is this sign.
    fn takes(&mut self, sign: &'static str) -> Result<bool, FilterError> {
        let is_it = self.token == Token::Sign(sign);
        if is_it {
            self.advance()?;
        }
        Ok(is_it)
    }

    fn error(&self, at: usize, what: impl Into<String>) -> FilterError {
        FilterError::new(self.text, at, what)
    }

    /// An error that names what is expected in place of the present token.
    fn expected(&self, what: &str) -> FilterError {
        let found = match self.token {
            Token::Word(word) | Token::Quoted(word) => format!("{:?}", shortened(word)),
            Token::Sign(sign) => sign.to_owned(),
            Token::End => "the end".to_owned(),
        };
        self.error(self.at, format!("{what} is expected here, not {found}"))
    }

    fn any(&mut self) -> Result<Node, FilterError> {
        let mut parts = vec![self.all()?];
        while self.takes("||")? {
            parts.push(self.all()?);
        }
        Ok(several(parts, Node::Any))
    }

    fn all(&mut self) -> Result<Node, FilterError> {
        let mut parts = vec![self.one()?];
        while self.takes("&&")? {
            parts.push(self.one()?);
        }
        Ok(several(parts, Node::All))
    }

    /// A test, a negation, or an expression in brackets.
    fn one(&mut self) -> Result<Node, FilterError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.error(self.at, format!("brackets and ! are nested more than {DEPTH_MAX} deep")));
        }
        let node = if self.takes("!")? {
            Node::Not(Box::new(self.one()?))
        } else if self.takes("(")? {
            let inside = self.any()?;
            if !self.takes(")")? {
                return Err(self.expected("&&, || or )"));
            }
            inside
        } else {
            self.test()?
        };
        self.depth -= 1;
        Ok(node)
    }

    fn test(&mut self) -> Result<Node, FilterError> {
        let Token::Word(name) = self.token else { return Err(self.expected("a field's name")) };
        let field = self.table.find(name).ok_or_else(|| self.no_field(name))?;
        if matches!(field.kind, FieldType::Binary | FieldType::Repeated | FieldType::Time) {
            let what = match field.kind {
                FieldType::Time => format!("{name} cannot be compared; compare timestamp_ts"),
                kind => format!("{name} holds {}, which cannot be compared", kind.name()),
            };
            return Err(self.error(self.at, what));
        }
        self.advance()?;
        let operator = match self.token {
            Token::Sign(sign) => Operator::of(sign),
            Token::Word("in") => {
                self.advance()?;
                return Ok(Node::Field(field, self.list(field)?));
            }
            _ => None,
        };
        let Some(operator) = operator else {
            // A boolean field alone is a test.
            if field.kind == FieldType::Bool && !matches!(self.token, Token::Word(_) | Token::Quoted(_)) {
                return Ok(Node::Field(field, Test::Within(Operator::Equal.ranges(1))));
            }
            return Err(self.expected("one of = != < > <= >= in"));
        };
        let sign_at = self.at;
        self.advance()?;
        let test = match field.kind {
            FieldType::String if matches!(operator, Operator::Equal | Operator::NotEqual) => {
                Test::Text { texts: vec![self.value()?.into()], among: operator == Operator::Equal }
            }
            FieldType::String => {
                return Err(self.error(sign_at, format!("{name} is text: compare it by =, != or in")));
            }
            FieldType::Address => {
                let value = self.value()?;
                let address: Ipv4Addr = value.parse().map_err(|_| {
                    let what = match parse_range(value) {
                        Ok(_) => format!("{} is several addresses: write {name} in {0}", shortened(value)),
                        Err(_) => format!("{name} is an address: compare it with one such as 192.0.2.1"),
                    };
                    self.error(self.at, what)
                })?;
                Test::Within(operator.ranges(address.to_bits().into()))
            }
            _ => Test::Within(operator.ranges(self.number(field)?)),
        };
        self.advance()?;
        Ok(Node::Field(field, test))
    }

    /// The values after `in`: one, or several in brackets.
    fn list(&mut self, field: Field) -> Result<Test, FilterError> {
        let (mut texts, mut ranges) = (vec![], vec![]);
        let several = self.takes("(")?;
        loop {
            match field.kind {
                FieldType::String => texts.push(self.value()?.into()),
                FieldType::Address => {
                    let range = parse_range(self.value()?);
                    let range = range.map_err(|problem| self.error(self.at, format!("this {problem}")))?;
                    ranges.push((range.first().into(), range.last().into()));
                }
                _ => ranges.push(self.numbers(field)?),
            }
            self.advance()?;
            if !several {
                break;
            }
            if self.takes(")")? {
                break;
            }
            if !self.takes(",")? {
                return Err(self.expected("a comma or )"));
            }
        }
        Ok(match field.kind {
            FieldType::String => Test::Text { texts, among: true },
            _ => Test::Within(Ranges::new(ranges)),
        })
    }

    /// The present word or text.
    fn value(&self) -> Result<&'a str, FilterError> {
        match self.token {
            Token::Word(text) | Token::Quoted(text) => Ok(text),
            _ => Err(self.expected("a value")),
        }
    }

    /// The present number or boolean.
    fn number(&self, field: Field) -> Result<u64, FilterError> {
        let text = self.value()?;
        number(field, text).ok_or_else(|| self.error(self.at, mismatch(field)))
    }

    /// A number, or a range `a-b`.
    fn numbers(&self, field: Field) -> Result<(u64, u64), FilterError> {
        let text = self.value()?;
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (number(field, first), number(field, last)) {
            (Some(first), Some(last)) if first <= last => Ok((first, last)),
            (Some(_), Some(_)) => {
                Err(self.error(self.at, "this runs backwards: write the lower number first"))
            }
            _ => Err(self.error(self.at, mismatch(field))),
        }
    }

    fn no_field(&self, name: &str) -> FilterError {
        let fields = self.table.all().chain(self.table.extra.iter().flat_map(|group| group.iter()));
        let alike = fields.map(|field| (strsim::jaro_winkler(name, field.name), field.name));
        let best = alike.max_by(|one, other| one.0.total_cmp(&other.0)).filter(|(alike, _)| *alike > ALIKE);
        let hint = best.map_or_else(String::new, |(_, name)| format!("; do you mean {name}?"));
        let error = self.error(self.at, format!("there is no field {:?}{hint}", shortened(name)));
        FilterError { needs_list: best.is_none(), ..error }
    }
}

/// A single part needs no list around it.
fn several(mut parts: Vec<Node>, join: fn(Vec<Node>) -> Node) -> Node {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            join(parts)
        }
        None => join(parts),
    }
}

fn number(field: Field, text: &str) -> Option<u64> {
    let truth = field.kind == FieldType::Bool;
    match text {
        "true" if truth => Some(1),
        "false" if truth => Some(0),
        // Otherwise a leading sign would be accepted.
        _ if !text.bytes().all(|byte| byte.is_ascii_digit()) => None,
        _ => text.parse().ok().filter(|&number| !truth || number <= 1),
    }
}

fn mismatch(field: Field) -> String {
    let name = field.name;
    match field.kind {
        FieldType::Bool => format!("{name} is a boolean: compare it with true, false, 1 or 0"),
        _ => format!("{name} is a number: compare it with one from 0 to {}", u64::MAX),
    }
}

/// A word, shortened for an error.
fn shortened(word: &str) -> &str {
    word.char_indices().nth(40).map_or(word, |(end, _)| &word[..end])
}
