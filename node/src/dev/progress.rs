//! A bar for each leecher on a terminal; nothing elsewhere.

use std::io::{self, IsTerminal as _};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use shoal_core::session::view::JobView;

/// How a bar looks; fits into 80 columns.
const TEMPLATE: &str = "{prefix:>10} {bar:28} {bytes:>11} {binary_bytes_per_sec:>13} {msg:.14}";

/// The bars of all leechers.
pub(super) struct Bars {
    all: MultiProgress,
    bars: Vec<ProgressBar>,
}

/// The bar of one leecher.
pub(super) struct Bar(ProgressBar);

impl Bars {
    pub(super) fn new(leechers: usize, len: u64) -> Self {
        let target = match io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let all = MultiProgress::with_draw_target(target);
        let style = ProgressStyle::with_template(TEMPLATE);
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = |index| {
            let bar = ProgressBar::new(len).with_style(style.clone());
            all.add(bar.with_prefix(super::leecher_name(index)))
        };
        let bars = (0..leechers).map(bar).collect();
        Self { all, bars }
    }

    pub(super) fn bar(&self, index: usize) -> Bar {
        Bar(self.bars[index].clone())
    }

    /// Takes the bars off the screen.
    pub(super) fn clear(&self) {
        // A terminal that went away has nothing to clear.
        let _ = self.all.clear();
    }
}

impl Bar {
    pub(super) fn show(&self, job: &JobView) {
        self.0.set_position(job.done_bytes);
        self.0.set_message(job.phase.clone());
    }

    pub(super) fn comparing(&self) {
        self.0.set_message("comparing");
    }

    pub(super) fn done(&self) {
        self.0.finish_with_message("same");
    }
}
