//! The words and signs of a filter.

use super::FilterError;

/// A word or sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A name, number, address or bare text: letters, digits and `_ - . : /`.
    Word(&'a str),
    /// Text between quotes, without them.
    Quoted(&'a str),
    /// A sign, as written.
    Sign(&'static str),
    End,
}

/// All signs; one that begins with another sign comes before it.
const SIGNS: [&str; 13] = ["&&", "||", "!=", "<=", ">=", "==", "=", "<", ">", "!", "(", ")", ","];

/// Splits a filter into tokens.
#[derive(Clone)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next token and the byte at which it begins. At the end it always returns [`Token::End`].
    pub(super) fn next(&mut self) -> Result<(Token<'a>, usize), FilterError> {
        let rest = &self.text[self.at..];
        let blank = rest.len() - rest.trim_start().len();
        let start = self.at + blank;
        let rest = &rest[blank..];
        let (token, len) = match rest.chars().next() {
            None => (Token::End, 0),
            Some(quote @ ('"' | '\'')) => {
                let inside = &rest[1..];
                let len = inside.find(quote).ok_or_else(|| {
                    FilterError::new(
                        self.text,
                        start,
                        format!("the text that begins here lacks its closing {quote}"),
                    )
                })?;
                (Token::Quoted(&inside[..len]), len + 2)
            }
            Some(first) if is_of_word(first) => {
                let len = rest.find(|other| !is_of_word(other)).unwrap_or(rest.len());
                (Token::Word(&rest[..len]), len)
            }
            Some(first) => match SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
                Some(sign) => (Token::Sign(sign), sign.len()),
                None => {
                    let what = match first {
                        '&' | '|' => format!("write {first}{first}"),
                        _ => format!("{first:?} has no meaning here; put text between quotes"),
                    };
                    return Err(FilterError::new(self.text, start, what));
                }
            },
        };
        self.at = start + len;
        Ok((token, start))
    }
}

fn is_of_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.' | ':' | '/')
}
