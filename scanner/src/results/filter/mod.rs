//! Which replies become results.
//!
//! Owns the language of `--output-filter`: ZMap's, and what it lacks. What is read here stays what ZMap understands by
//! it: `&&` binds tighter than `||`, and a test is `field op value`. A null value fails every test, `!=` among them; `!`
//! turns the outcome around, whatever it comes from. An expression is compiled once, when the plan is made; to test a
//! reply allocates nothing.

mod expression;
mod lexer;
mod parser;

use super::fields::{Extractor, Table};
use super::reply::Reply;
pub use expression::Expression;
use expression::Known;
pub use parser::FilterError;

/// Which replies become results: those that all parts let pass.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only successes, each target once: ZMap's `success = 1 && repeat = 0`, which is there when nothing is asked for.
    pub successes_only: bool,
    /// What `--output-filter` asks for.
    pub expression: Option<Expression>,
}

impl Filter {
    /// Lets successes pass, each target once.
    pub fn successes() -> Self {
        Self { successes_only: true, expression: None }
    }

    /// Whether `reply` becomes a result.
    pub fn passes(&self, reply: &Reply<'_>, extractor: &mut Extractor) -> bool {
        let wanted = !self.successes_only || reply.header().is_success() && !reply.repeat();
        wanted && self.expression.as_ref().is_none_or(|expression| expression.matches(reply, extractor))
    }

    /// Whether a reply may become a result whose like from the same target came before: a success that is a repeat, or
    /// what is no success, which no reply of its own kind makes a repeat.
    pub fn wants_repeats(&self) -> bool {
        let repeat = Known { success: true, repeat: Some(true) };
        let failure = Known { success: false, repeat: None };
        let may_pass = |known| self.expression.as_ref().is_none_or(|expression| expression.may_match(known));
        !self.successes_only && (may_pass(repeat) || may_pass(failure))
    }
}

/// Reads an expression over the fields of `table`; `None` if `text` is blank, which lets everything pass.
///
/// # Errors
/// Where it breaks off, and what to write instead.
pub fn parse(text: &str, table: &Table) -> Result<Option<Expression>, FilterError> {
    parser::parse(text, table)
}

#[cfg(test)]
mod tests;
