//! What a governor has decided, as values: for the log, the status and the metadata.

use std::fmt;
use std::time::Duration;

/// What limits a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The way to the targets or back: frames beyond the knee are lost.
    Path,
    /// Our own side: replies are lost in our rings, as our counters say.
    Receiver,
}

impl Cause {
    /// The word for it in a status.
    pub fn name(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Receiver => "receiver",
        }
    }
}

/// The rate from which on more is lost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Knee {
    /// Probes and canaries per second.
    pub pps: f64,
    /// The relative standard error of that.
    pub error: f64,
    /// What it is the knee of.
    pub cause: Cause,
}

/// Why a rate is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// It is just below the knee.
    Knee,
    /// It is what the user allows.
    Cap,
    /// The machine sends no faster.
    Sender,
    /// Too little is answered to see a loss.
    Blind,
}

impl Bound {
    /// The word for it in a status.
    pub fn name(self) -> &'static str {
        match self {
            Self::Knee => "knee",
            Self::Cap => "cap",
            Self::Sender => "sender",
            Self::Blind => "few-replies",
        }
    }
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum What {
    /// Nothing is lost: the rate goes up.
    Rise,
    /// It goes up with caution, because what is seen is not enough to be sure.
    Creep,
    /// This share is lost: the rate goes back, and the knee is looked for.
    Loss(f64),
    /// The rate goes a little above where the knee should be, in order to measure it.
    Measure,
    /// The knee was found; the rate is held just below it.
    Found(Knee),
    /// The rate is held for another reason.
    Hold(Bound),
    /// The path has degraded: while a rate was held, this share was lost. The rate goes back.
    StepBack(f64),
    /// The rate is held for a while; whether more is possible now is tried.
    Try,
    /// Targets that were probed since then, until now, are to be probed again: what was sent may have been lost.
    Again(Duration),
    /// Answers take longer than before: a queue fills. More canaries leave.
    Delay,
}

/// A decision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    /// When, since the scan's start.
    pub at: Duration,
    /// What was decided.
    pub what: What,
    /// The rate from then on, in probes and canaries per second.
    pub rate_pps: f64,
}

impl Decision {
    /// The word for it in a status.
    pub fn name(&self) -> &'static str {
        match self.what {
            What::Rise => "rise",
            What::Creep => "creep",
            What::Loss(_) => "loss",
            What::Measure => "measure",
            What::Found(_) => "found",
            What::Hold(_) => "hold",
            What::StepBack(_) => "step-back",
            What::Try => "try",
            What::Again(_) => "again",
            What::Delay => "delay",
        }
    }
}

/// The line of the log.
impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.rate_pps;
        match self.what {
            What::Rise => write!(f, "nothing is lost; on to {rate:.0} probes per second"),
            What::Creep => write!(f, "too few replies to be sure; on to {rate:.0} probes per second"),
            What::Loss(share) => {
                write!(f, "{:.1} % is lost; back to {rate:.0} probes per second", 100.0 * share)
            }
            What::Measure => write!(f, "measuring the knee at {rate:.0} probes per second"),
            What::Found(knee) => {
                let whose = match knee.cause {
                    Cause::Path => "the path carries",
                    Cause::Receiver => "this host receives the replies to",
                };
                let error = 200.0 * knee.error;
                let knee = knee.pps;
                write!(f, "{whose} {knee:.0} probes per second (+-{error:.1} %); holding {rate:.0}")
            }
            What::Hold(Bound::Knee) => write!(f, "holding {rate:.0} probes per second"),
            What::Hold(Bound::Cap) => {
                write!(f, "nothing is lost at {rate:.0} probes per second, the most allowed")
            }
            What::Hold(Bound::Sender) => {
                write!(f, "this host sends no more than {rate:.0} probes per second, of which none are lost")
            }
            What::Hold(Bound::Blind) => write!(
                f,
                "too little is answered to see a loss; holding {rate:.0} probes per second. Give a cap to go beyond"
            ),
            What::StepBack(share) => write!(
                f,
                "{:.1} % is lost at a rate that was well before; back to {rate:.0} probes per second",
                100.0 * share
            ),
            What::Try => write!(f, "trying {rate:.0} probes per second"),
            What::Again(from) => {
                let seconds = self.at.saturating_sub(from).as_secs_f64();
                write!(f, "what was sent in the last {seconds:.1} s may have been lost, and is probed again")
            }
            What::Delay => f.write_str("replies take longer than before; watching more closely"),
        }
    }
}
