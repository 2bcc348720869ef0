//! A finding: the facts, a verdict, what they mean for a scan, and the command that improves it.

use serde::Serialize;

use crate::exit::Exit;

/// The verdict on a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// Makes a scan slower or lose replies.
    Warn,
    /// Prevents a scan.
    Fail,
}

impl Verdict {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One thing that was examined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was examined, in a word or two.
    pub topic: &'static str,
    /// The verdict.
    pub verdict: Verdict,
    /// The facts.
    pub found: String,
    /// What they mean for a scan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub means: Option<String>,
    /// A command that improves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// The exit code of a scan that fails because of it.
    #[serde(skip)]
    pub exit_code: Exit,
}

impl Finding {
    fn new(verdict: Verdict, topic: &'static str, found: impl Into<String>) -> Self {
        Self { topic, verdict, found: found.into(), means: None, remedy: None, exit_code: Exit::Done }
    }

    /// As it should be.
    pub(super) fn ok(topic: &'static str, found: impl Into<String>) -> Self {
        Self::new(Verdict::Ok, topic, found)
    }

    /// Worth knowing.
    pub(super) fn note(topic: &'static str, found: impl Into<String>) -> Self {
        Self::new(Verdict::Note, topic, found)
    }

    /// Makes a scan slower or lose replies.
    pub(super) fn warn(topic: &'static str, found: impl Into<String>) -> Self {
        Self::new(Verdict::Warn, topic, found)
    }

    /// A scan would fail with this exit code.
    pub(super) fn fail(exit_code: Exit, topic: &'static str, found: impl Into<String>) -> Self {
        Self { exit_code, ..Self::new(Verdict::Fail, topic, found) }
    }

    /// Adds what it means.
    pub(super) fn means(self, means: impl Into<String>) -> Self {
        Self { means: Some(means.into()), ..self }
    }

    /// Adds a command that improves it.
    pub(super) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }
}
