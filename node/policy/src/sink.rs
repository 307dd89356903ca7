//! What a policy says: log lines and metrics, bounded here and handed to the host. Never here:
//! where they go.

use std::{collections::BTreeSet, time::Duration};

use shoal_core::time::Timestamp;

/// The most log lines a second; the others are counted.
pub const LOG_LINES_PER_SECOND: u32 = 20;
/// The longest log line, bytes; longer ones are cut.
pub const LOG_LINE_LEN_MAX: usize = 1024;
/// The most names of metrics of a policy.
pub const METRICS_MAX: usize = 16;
/// The longest name of a metric, bytes.
pub const METRIC_NAME_LEN_MAX: usize = 64;

/// Where log lines and metrics of a policy go.
pub trait Sink {
    /// A line, without control characters and at most [`LOG_LINE_LEN_MAX`] bytes.
    fn log(&mut self, level: LogLevel, line: &str);

    /// A metric; `value` is finite, `name` is `[a-z0-9_]` and at most [`METRIC_NAME_LEN_MAX`] bytes.
    fn metric(&mut self, operation: MetricOperation, name: &str, value: f64);
}

/// A sink that drops everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSink;

impl Sink for NoSink {
    fn log(&mut self, _level: LogLevel, _line: &str) {}
    fn metric(&mut self, _operation: MetricOperation, _name: &str, _value: f64) {}
}

/// The level of a log line.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LogLevel {
    /// `log.debug`
    Debug,
    /// `log.info`
    Info,
    /// `log.warn`
    Warn,
    /// `log.error`
    Error,
}

/// What is done to a metric.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MetricOperation {
    /// `metric.inc`: added to a counter.
    Inc,
    /// `metric.set`: a gauge.
    Set,
    /// `metric.observe`: a sample of a distribution.
    Observe,
}

/// A sink and the limits before it.
pub(crate) struct Outlet {
    sink: Box<dyn Sink>,
    muted: bool,
    now: Timestamp,
    second: Timestamp,
    lines: u32,
    suppressed: u64,
    unreported: u64,
    metrics: BTreeSet<String>,
}

impl Outlet {
    pub(crate) fn new(sink: Box<dyn Sink>) -> Self {
        Self {
            sink,
            muted: false,
            now: Timestamp::default(),
            second: Timestamp::default(),
            lines: 0,
            suppressed: 0,
            unreported: 0,
            metrics: BTreeSet::new(),
        }
    }

    /// Nothing goes out while muted: during a dry run.
    pub(crate) fn mute(&mut self, muted: bool) {
        self.muted = muted;
    }

    /// Moves the time by which lines are limited.
    pub(crate) fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        if self.now.since(self.second) >= Duration::from_secs(1) {
            self.second = self.now;
            self.lines = 0;
            if self.unreported > 0 {
                let line = format!("{} log lines suppressed", self.unreported);
                self.unreported = 0;
                self.sink.log(LogLevel::Warn, &line);
            }
        }
    }

    pub(crate) fn suppressed(&self) -> u64 {
        self.suppressed
    }

    pub(crate) fn log(&mut self, level: LogLevel, line: &[u8]) {
        if self.muted {
            return;
        }
        if self.lines >= LOG_LINES_PER_SECOND {
            self.suppressed += 1;
            self.unreported += 1;
            return;
        }
        self.lines += 1;
        self.sink.log(level, &sanitised(line, LOG_LINE_LEN_MAX));
    }

    /// # Errors
    /// What is wrong with the name or the value.
    pub(crate) fn metric(
        &mut self,
        operation: MetricOperation,
        name: &str,
        value: f64,
    ) -> Result<(), String> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if name.is_empty() || name.len() > METRIC_NAME_LEN_MAX || !name.bytes().all(plain) {
            let name = sanitised(name.as_bytes(), METRIC_NAME_LEN_MAX);
            return Err(format!(
                "metric '{name}': a name is 1 to {METRIC_NAME_LEN_MAX} of a-z, 0-9 and _"
            ));
        }
        if !value.is_finite() {
            return Err(format!("metric '{name}': {value} is not finite"));
        }
        if self.muted {
            return Ok(());
        }
        if !self.metrics.contains(name) {
            if self.metrics.len() >= METRICS_MAX {
                return Err(format!("metric '{name}': a policy has at most {METRICS_MAX} names"));
            }
            self.metrics.insert(name.to_owned());
        }
        self.sink.metric(operation, name, value);
        Ok(())
    }
}

/// Text that a terminal and a log may see: UTF-8, no control characters, at most `len_max` bytes.
pub(crate) fn sanitised(bytes: &[u8], len_max: usize) -> String {
    let cut = &bytes[..bytes.len().min(len_max)];
    let mut text: String = String::from_utf8_lossy(cut)
        .chars()
        .map(|c| if c == '\t' { ' ' } else { c })
        .map(|c| if c.is_control() { '?' } else { c })
        .collect();
    // A replacement character is longer than the byte it stands for.
    while text.len() > len_max {
        text.pop();
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{cell::RefCell, rc::Rc};

    use super::*;

    /// Keeps what it was told.
    #[derive(Clone, Default)]
    pub(crate) struct Kept {
        pub(crate) lines: Rc<RefCell<Vec<String>>>,
        pub(crate) metrics: Rc<RefCell<Vec<(String, f64)>>>,
    }

    impl Sink for Kept {
        fn log(&mut self, level: LogLevel, line: &str) {
            self.lines.borrow_mut().push(format!("{level:?} {line}"));
        }

        fn metric(&mut self, _operation: MetricOperation, name: &str, value: f64) {
            self.metrics.borrow_mut().push((name.to_owned(), value));
        }
    }

    #[test]
    fn lines_beyond_the_limit_are_counted_and_reported_in_the_next_second() {
        let kept = Kept::default();
        let mut outlet = Outlet::new(Box::new(kept.clone()));
        for _ in 0..LOG_LINES_PER_SECOND + 5 {
            outlet.log(LogLevel::Info, b"hello");
        }
        assert_eq!(kept.lines.borrow().len(), LOG_LINES_PER_SECOND as usize);
        outlet.advance(Timestamp(999_999));
        outlet.log(LogLevel::Info, b"still the same second");
        assert_eq!(outlet.suppressed(), 6);
        outlet.advance(Timestamp(1_000_000));
        outlet.log(LogLevel::Info, b"next");
        let lines = kept.lines.borrow();
        assert_eq!(lines[lines.len() - 2..], ["Warn 6 log lines suppressed", "Info next"]);
    }

    #[test]
    fn a_policy_has_sixteen_metrics() {
        let kept = Kept::default();
        let mut outlet = Outlet::new(Box::new(kept.clone()));
        for n in 0..METRICS_MAX {
            assert_eq!(outlet.metric(MetricOperation::Inc, &format!("m{n}"), 1.0), Ok(()));
        }
        assert!(outlet.metric(MetricOperation::Inc, "one_more", 1.0).is_err());
        assert_eq!(outlet.metric(MetricOperation::Inc, "m3", 1.0), Ok(()));
        assert!(outlet.metric(MetricOperation::Inc, "m3", f64::NAN).is_err());
        assert!(outlet.metric(MetricOperation::Inc, "Not a name", 1.0).is_err());
        assert_eq!(kept.metrics.borrow().len(), METRICS_MAX + 1);
    }

    #[test]
    fn control_characters_never_reach_a_terminal() {
        assert_eq!(sanitised(b"a\x1b[31m\nb\tc", 100), "a?[31m?b c");
        assert_eq!(sanitised(&[0xff; 10], 7).len(), 6);
    }
}
