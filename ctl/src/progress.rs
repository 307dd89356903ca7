//! Progress bars on a terminal's standard error; silence elsewhere. Never here: results.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use shoal::v1::Progress;

use crate::{clean::clean, human, session::Session};

/// Redraws a second.
const DRAWS_PER_SECOND: u8 = 10;

/// Longest estimate shown, seconds; beyond it nobody knows.
const ESTIMATE_S_MAX: u64 = 100 * 3600;

/// A bar that disappears when it is dropped.
pub(crate) struct Bar(Option<ProgressBar>);

impl Bar {
    /// A bar where the session draws bars, and nothing otherwise.
    pub(crate) fn new(session: &Session<'_>) -> Self {
        Self(session.draws_bars().then(|| {
            let target = ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND);
            ProgressBar::with_draw_target(Some(0), target).with_style(style())
        }))
    }

    /// Shows how far the work is. `note` stands in the place of the phase where it is not empty.
    pub(crate) fn update(&self, progress: Option<&Progress>, note: &str) {
        let (Some(bar), Some(progress)) = (&self.0, progress) else { return };
        bar.set_length(progress.total_bytes);
        bar.set_position(progress.done_bytes.min(progress.total_bytes));
        bar.set_message(clean(&message(progress, note)).into_owned());
    }
}

/// A line that changes, and disappears when it is dropped.
pub(crate) struct Line(Option<ProgressBar>);

impl Line {
    /// A line where the session draws bars, and nothing otherwise.
    pub(crate) fn new(session: &Session<'_>) -> Self {
        Self(session.draws_bars().then(|| {
            let target = ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND);
            let style = ProgressStyle::with_template("{wide_msg}");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
            ProgressBar::with_draw_target(None, target).with_style(style)
        }))
    }

    /// Shows a text.
    pub(crate) fn show(&self, text: &str) {
        if let Some(line) = &self.0 {
            line.set_message(clean(text).into_owned());
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(line) = &self.0 {
            line.finish_and_clear();
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template(
        "{percent:>3}% {bar:20} {binary_bytes}/{binary_total_bytes} {wide_msg}",
    )
    .unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// What stands behind the bar: `41.2 MiB/s, 12.3 s left, 3 peers, downloading`.
fn message(progress: &Progress, note: &str) -> String {
    let mut parts = Vec::new();
    if progress.rate_bps > 0 {
        parts.push(human::rate(progress.rate_bps));
        let left = progress.total_bytes.saturating_sub(progress.done_bytes) / progress.rate_bps;
        if (1..=ESTIMATE_S_MAX).contains(&left) {
            parts.push(format!("{} left", human::millis(left * 1000)));
        }
    }
    if progress.peers > 0 {
        parts.push(human::count(u64::from(progress.peers), "peer"));
    }
    let phase = if note.is_empty() { &progress.phase } else { note };
    if !phase.is_empty() {
        parts.push(phase.to_owned());
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_tells_rate_rest_peers_and_phase() {
        let progress = Progress {
            done_bytes: 1 << 20,
            total_bytes: 11 << 20,
            rate_bps: 1 << 20,
            phase: "downloading".to_owned(),
            peers: 1,
            ..Progress::default()
        };
        assert_eq!(message(&progress, ""), "1.0 MiB/s, 10.0 s left, 1 peer, downloading");
        assert_eq!(message(&Progress::default(), "waiting for a"), "waiting for a");
    }

    #[test]
    fn the_template_is_understood() {
        let template = "{percent:>3}% {bar:20} {binary_bytes}/{binary_total_bytes} {wide_msg}";
        assert!(ProgressStyle::with_template(template).is_ok());
    }
}
