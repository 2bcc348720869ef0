//! What the workers are told: whether to send.
//!
//! Sending stops for two kinds of causes. A *hold* is an outage: probes may have been lost, and are repeated
//! afterwards. A *pause* is the user's wish, or a wait for an output: nothing is in doubt. Both are in one word, which
//! a worker loads once per batch.

/// What pauses the sending. A pause of one cause does not end with that of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum PauseCause {
    /// A command of the user.
    Command = 1 << 31,
    /// The process is about to be stopped, as by Ctrl-Z.
    Suspension = 1 << 30,
    /// An output cannot be written, which is tried again.
    Output = 1 << 29,
}

impl PauseCause {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Command, Self::Suspension, Self::Output];

    /// The word for it in a status.
    pub fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Suspension => "suspension",
            Self::Output => "output",
        }
    }
}

/// What the workers are told, in one word: in its low half whether sending is held (the count of changes, odd while it
/// is) and whether it is paused (a bit for each cause), in its high half how often the pace was restarted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Orders(u64);

impl Orders {
    pub(super) const HOLD: u64 = 1;
    const PAUSES: u64 =
        PauseCause::Command as u64 | PauseCause::Suspension as u64 | PauseCause::Output as u64;
    const HOLDS: u64 = PauseCause::Output as u64 - 1;
    pub(super) const RESTART: u64 = 1 << 32;

    /// As they are in the shared word.
    #[inline]
    pub(super) fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// Whether there is an outage.
    pub(super) fn is_held(self) -> bool {
        self.0 & Self::HOLD != 0
    }

    /// Whether there is a pause.
    pub(super) fn is_paused(self) -> bool {
        self.0 & Self::PAUSES != 0
    }

    /// What pauses the sending.
    pub(super) fn pauses(self) -> impl Iterator<Item = PauseCause> {
        PauseCause::ALL.into_iter().filter(move |&cause| self.0 & cause as u64 != 0)
    }

    /// Whether nothing is to be sent, for either reason.
    #[inline]
    pub(super) fn is_still(self) -> bool {
        self.0 & (Self::HOLD | Self::PAUSES) != 0
    }

    /// How often the hold has changed.
    pub(super) fn holds(self) -> u32 {
        (self.0 & Self::HOLDS) as u32
    }

    /// How often the pace was restarted.
    pub(super) fn restarts(self) -> u32 {
        (self.0 >> 32) as u32
    }
}
