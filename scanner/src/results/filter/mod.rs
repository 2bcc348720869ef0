//! Decides which replies become results.
//!
//! Owns the language of `--output-filter`: ZMap's language with extensions. Filters of ZMap keep their meaning: `&&`
//! binds tighter than `||`, and a test is `field op value`. A null value fails every test, also `!=`; `!` inverts the
//! outcome, whatever its reason. An expression is compiled once, when the plan is made, and testing a reply allocates
//! nothing.

mod error;
mod expression;
mod lexer;
mod parser;

use crate::reply::Reply;
use crate::reply::fields::{Extractor, Table};
pub use error::FilterError;
pub use expression::Expression;
use expression::Known;

/// Decides which replies become results: those that pass all parts.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only successes, each target once: ZMap's `success = 1 && repeat = 0`, which is the default.
    pub successes_only: bool,
    /// The expression of `--output-filter`.
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

    /// Whether replies may become results although the same target had such a reply before. Those are successes that
    /// are repeats, and replies that are not a success, which are never repeats of their own kind.
    pub fn wants_repeats(&self) -> bool {
        let repeat = Known { success: true, repeat: Some(true) };
        let failure = Known { success: false, repeat: None };
        let may_pass = |known| self.expression.as_ref().is_none_or(|expression| expression.may_match(known));
        !self.successes_only && (may_pass(repeat) || may_pass(failure))
    }
}

/// Parses an expression over the fields of `table`; `None` if `text` is blank, which lets every reply pass.
///
/// # Errors
/// The column of the error, and the remedy.
pub fn parse(text: &str, table: &Table) -> Result<Option<Expression>, FilterError> {
    parser::parse(text, table)
}

#[cfg(test)]
mod tests;
