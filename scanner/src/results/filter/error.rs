//! Why a filter was refused, and at which column.

/// Why a filter was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {what}")]
#[non_exhaustive]
pub struct FilterError {
    /// The column of the error, in characters from 1.
    pub column: usize,
    /// The error and the remedy.
    pub what: String,
    /// Whether a list of all fields helps: no field has the name that stands there, or one like it.
    pub needs_list: bool,
}

impl FilterError {
    /// An error at byte `at` of `text`.
    pub(super) fn new(text: &str, at: usize, what: impl Into<String>) -> Self {
        let before = text.get(..at).unwrap_or(text);
        Self { column: before.chars().count() + 1, what: what.into(), needs_list: false }
    }
}
