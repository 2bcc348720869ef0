//! A finding: what is so, whether that is well, what it means, and the command that improves it.

use serde::Serialize;

/// How well a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// A scan is slower or loses replies by it.
    Warn,
    /// No scan can run.
    Fail,
}

impl Verdict {
    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, in a word or two.
    pub topic: &'static str,
    /// How well it is.
    pub verdict: Verdict,
    /// What is so.
    pub found: String,
    /// What that means for a scan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub means: Option<String>,
    /// A command that improves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// The exit code of a scan that fails by it.
    #[serde(skip)]
    pub exit_code: u8,
}

impl Finding {
    fn new(verdict: Verdict, topic: &'static str, found: impl Into<String>) -> Self {
        Self { topic, verdict, found: found.into(), means: None, remedy: None, exit_code: 0 }
    }

    /// As it should be.
    pub(super) fn ok(topic: &'static str, found: impl Into<String>) -> Self {
        Self::new(Verdict::Ok, topic, found)
    }

    /// Worth knowing.
    pub(super) fn note(topic: &'static str, found: impl Into<String>) -> Self {
        Self::new(Verdict::Note, topic, found)
    }

    /// A scan suffers by it.
    pub(super) fn warn(topic: &'static str, found: impl Into<String>) -> Self {
        Self::new(Verdict::Warn, topic, found)
    }

    /// A scan would end with this exit code.
    pub(super) fn fail(exit_code: u8, topic: &'static str, found: impl Into<String>) -> Self {
        Self { exit_code, ..Self::new(Verdict::Fail, topic, found) }
    }

    /// Says what it means.
    pub(super) fn means(self, means: impl Into<String>) -> Self {
        Self { means: Some(means.into()), ..self }
    }

    /// Says what improves it.
    pub(super) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }
}
