//! How a governor stands: for the status, the status files and the metadata.

use serde::{Deserialize, Serialize};

use super::{Bound, Cause, Governor};

/// How a governor stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// `rising`, `draining`, `measuring` or `holding`.
    pub stage: String,
    /// Why the rate is held: `knee`, `cap`, `sender` or `few-replies`; absent while it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_for: Option<String>,
    /// Probes and canaries per second from which on more is lost; absent until that is found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knee_pps: Option<f64>,
    /// The relative standard error of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knee_error: Option<f64>,
    /// What the bottleneck is: `path` or `receiver`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bottleneck: Option<String>,
    /// The share of canaries that are answered when nothing is lost because of the rate; absent without canaries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_share: Option<f64>,
    /// How many decisions there were.
    pub decisions: u64,
    /// The last one, as the log has it; absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_decision: Option<String>,
}

impl Governor {
    /// How it stands, without its decisions.
    pub fn state(&self) -> State {
        let knee = self.knee();
        State {
            stage: self.stage().to_owned(),
            held_for: self.bound().map(Bound::name).map(str::to_owned),
            knee_pps: knee.map(|knee| knee.pps),
            knee_error: knee.map(|knee| knee.error),
            bottleneck: knee.map(|knee| knee.cause).map(Cause::name).map(str::to_owned),
            answered_share: self.answered_share(),
            ..State::default()
        }
    }
}
