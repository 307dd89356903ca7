//! Aquatic's own load testers against a tracker, and what they say at their end. Never here: which
//! tracker.

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};

use super::contestant::{Aquatic, Setting, Way};
use crate::process::{Member, text_of, wait_all};

/// The load, as far as the testers let it be chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Test {
    /// Torrents.
    pub(super) torrents: u32,
    /// Peers of all of them; UDP only.
    pub(super) peers: u64,
    /// Connections; HTTP only.
    pub(super) connections: u16,
    /// Seconds, which the testers round up to multiples of 5.
    pub(super) seconds: u64,
}

/// What a tester counted.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Verdict {
    /// Answers of all kinds a second.
    pub(super) answers_per_s: f64,
    /// Answers that were errors, a second.
    pub(super) errors_per_s: f64,
}

/// How long the testers wait before they look whether they are done, seconds.
pub(super) const STEP_S: u64 = 5;
/// The largest part of answers that may be errors.
const ERRORS_MAX: f64 = 0.001;

/// Runs the tester of this way.
///
/// # Errors
/// It is not there, fails, takes longer than `within` beside the test, says something else, or met
/// errors.
pub(super) fn run(
    aquatic: &Aquatic,
    way: Way,
    tracker: SocketAddr,
    test: Test,
    dir: &Path,
    within: Duration,
) -> anyhow::Result<Verdict> {
    let name = program(way);
    let server = format!("{:?}", tracker.to_string());
    let [seconds, torrents, peers] =
        [test.seconds, test.torrents.into(), test.peers].map(|it| it.to_string());
    let connections = test.connections.to_string();
    let common = [("", "server_address", server.as_str()), ("", "duration", &seconds)];
    let own: &[Setting<'_>] = match way {
        Way::Udp => &[
            ("requests", "number_of_torrents", &torrents),
            ("requests", "number_of_peers", &peers),
        ],
        Way::Http | Way::Piped | Way::Close => &[
            ("", "enable_tls", "false"),
            ("", "num_connections", &connections),
            ("torrents", "number_of_torrents", &torrents),
            ("", "keep_alive", if way == Way::Close { "false" } else { "true" }),
            ("", "connection_creation_interval_ms", if way == Way::Close { "0" } else { "10" }),
        ],
    };
    let settings = [&common[..], own].concat();
    let argv = aquatic.argv(name, &settings, &dir.join("tester.toml"))?;
    let log = dir.join("tester.log");
    let mut members = [Member::start(name, &argv, log.clone())?];
    let within = within + Duration::from_secs(test.seconds);
    wait_all(&mut members, Instant::now(), within)?;
    let said = text_of(&log).context("the tester said nothing")?;
    let verdict = verdict(&said).with_context(|| name.to_owned())?;
    let errors = verdict.errors_per_s;
    ensure!(errors <= ERRORS_MAX * verdict.answers_per_s, "{name}: {errors} errors a second");
    Ok(verdict)
}

/// The tester's program.
pub(super) fn program(way: Way) -> &'static str {
    match way {
        Way::Udp => "aquatic_udp_load_test",
        Way::Http | Way::Piped | Way::Close => "aquatic_http_load_test",
    }
}

/// What the report at the end says. That of HTTP has no errors of its own, so that those of every
/// interval count.
fn verdict(said: &str) -> anyhow::Result<Verdict> {
    let report = said.rfind("# aquatic load test report").context("it made no report")?;
    let (before, report) = said.split_at(report);
    let number = |text: &str, key: &str| -> Option<f64> {
        let lines = text.lines().filter_map(|line| line.trim().strip_prefix(key));
        let values: Vec<f64> = lines.filter_map(|value| value.trim().parse().ok()).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    let answers_per_s = number(report, "Average responses per second:").context("no average")?;
    let errors = number(report, "- Error responses:");
    let errors = errors.or_else(|| number(before, "- Failure responses:"));
    Ok(Verdict { answers_per_s, errors_per_s: errors.context("no count of errors")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_reports_are_read() {
        let udp = "Responses in: 5.00/second\n  - Error responses:    9.00\n\n\
            # aquatic load test report\n\nTest ran for 5 seconds \n\
            Average responses per second: 1234.50\n  - Connect responses:  600.00\n\
            \x20 - Error responses:    2.50\n";
        let verdict_of = |text| verdict(text).unwrap();
        let expected = Verdict { answers_per_s: 1234.5, errors_per_s: 2.5 };
        assert_eq!(verdict_of(udp), expected);
        let http = "  - Failure responses:  1.00\n  - Failure responses:  3.00\n\
            # aquatic load test report\n\nAverage responses per second: 77.00\n";
        assert_eq!(verdict_of(http), Verdict { answers_per_s: 77.0, errors_per_s: 2.0 });
        for bad in ["", "# aquatic load test report\n", "Average responses per second: 1\n"] {
            assert!(verdict(bad).is_err(), "{bad}");
        }
    }
}
