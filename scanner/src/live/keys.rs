//! What keys ask for.

use std::io;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::engine::{RATE_MAX_PPS, RATE_MIN_PPS};

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Send nothing, or go on.
    Pause,
    /// A higher rate.
    Faster,
    /// A lower rate.
    Slower,
    /// End the scan, of which this is only a view.
    Stop,
    /// End the view, and the scan as well if this process has started it.
    Leave,
    /// Stop this process for a while.
    Suspend,
}

/// The keys of a terminal in raw mode, which sends no signals for them.
pub(super) struct Keys {
    /// Whether the scan is this process's.
    pub(super) owns_scan: bool,
}

impl Keys {
    /// What the next key asks for. Waits for it at most `wait`, and less if the terminal's size changes.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn next(&self, wait: Duration) -> io::Result<Option<Action>> {
        if !event::poll(wait)? {
            return Ok(None);
        }
        match event::read()? {
            Event::Key(key) if key.kind != KeyEventKind::Release => Ok(self.action(key)),
            _ => Ok(None),
        }
    }

    fn action(&self, key: KeyEvent) -> Option<Action> {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c' | 'C') if is_control => Some(Action::Leave),
            KeyCode::Char('z' | 'Z') if is_control => Some(Action::Suspend),
            KeyCode::Char(_) if is_control => None,
            KeyCode::Char(' ' | 'p' | 'P') => Some(Action::Pause),
            KeyCode::Char('+' | '=') => Some(Action::Faster),
            KeyCode::Char('-' | '_') => Some(Action::Slower),
            KeyCode::Char('q' | 'Q') => Some(Action::Leave),
            KeyCode::Char('s' | 'S') if !self.owns_scan => Some(Action::Stop),
            _ => None,
        }
    }
}

/// A rate a tenth higher or lower, with three digits, within what a scan can have.
pub(super) fn changed(rate_pps: f64, up: bool) -> f64 {
    let new_pps = if up { rate_pps * 1.1 } else { rate_pps / 1.1 };
    let scale = 10f64.powi(2 - new_pps.log10().floor() as i32);
    ((new_pps * scale).round() / scale).clamp(RATE_MIN_PPS, RATE_MAX_PPS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_actions() {
        let key = |code, modifiers| KeyEvent::new(code, modifiers);
        let (own, other) = (Keys { owns_scan: true }, Keys { owns_scan: false });
        for (code, action) in [
            (' ', Some(Action::Pause)),
            ('p', Some(Action::Pause)),
            ('+', Some(Action::Faster)),
            ('-', Some(Action::Slower)),
            ('q', Some(Action::Leave)),
            ('x', None),
        ] {
            let key = key(KeyCode::Char(code), KeyModifiers::NONE);
            assert_eq!((own.action(key), other.action(key)), (action, action), "{code}");
        }
        let stop = key(KeyCode::Char('s'), KeyModifiers::NONE);
        assert_eq!((own.action(stop), other.action(stop)), (None, Some(Action::Stop)));
        let control = |c| own.action(key(KeyCode::Char(c), KeyModifiers::CONTROL));
        assert_eq!(
            [control('c'), control('z'), control('p')],
            [Some(Action::Leave), Some(Action::Suspend), None]
        );
        assert_eq!(own.action(key(KeyCode::Esc, KeyModifiers::NONE)), None);
    }

    #[test]
    fn a_rate_changes_by_a_tenth() {
        for (rate, up, down) in [(10_000.0, 11_000.0, 9_090.0), (1.0, 1.1, 0.909), (0.5, 0.55, 0.455)] {
            assert!(
                (changed(rate, true) - up).abs() < 1e-9 && (changed(rate, false) - down).abs() < 1e-9,
                "{rate}"
            );
        }
        assert_eq!(changed(RATE_MAX_PPS, true), RATE_MAX_PPS);
        assert_eq!(changed(RATE_MIN_PPS, false), RATE_MIN_PPS);
    }
}
