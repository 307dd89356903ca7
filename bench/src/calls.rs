//! System calls, as `perf stat` counts them of processes that run: in the kernel, at their entry,
//! where a tracer would stop each. Never here: what is counted.

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde::Serialize;

use crate::process::{Member, await_that, text_of, wait_all};

/// How many system calls a contestant made for each 10⁶ bytes of all copies, in one transfer that
/// was not timed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Calls {
    /// Who.
    #[serde(skip)]
    pub(crate) contestant: String,
    /// Bytes of a piece.
    #[serde(skip)]
    pub(crate) piece_bytes: u32,
    /// Of the sender, from the receivers' start to its end.
    pub(crate) sender_per_mb: f64,
    /// Of all receivers, from their start to their end.
    pub(crate) receiver_per_mb: f64,
}

/// Counts the calls of running processes, their threads and their children.
#[derive(Debug)]
pub(crate) struct Counter {
    perf: Member,
    file: PathBuf,
    /// Counted before it was known to count.
    before: u64,
}

/// What is counted: every entry into the kernel by a call.
const EVENT: &str = "raw_syscalls:sys_enter";
/// How often what was counted is written down, milliseconds.
const EVERY_MS: &str = "100";

/// Why system calls cannot be counted here, if they cannot.
pub(crate) fn missing() -> Option<String> {
    let output = Command::new("perf").args(["stat", "-x,", "-e", EVENT, "--", "true"]).output();
    match output {
        Err(_) => Some("perf is not there".to_owned()),
        Ok(output) if total(&String::from_utf8_lossy(&output.stderr)).is_some_and(|it| it > 0) => {
            None
        }
        Ok(_) => Some(format!("perf may not count {EVENT}: it takes root")),
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sent, received) = (self.sender_per_mb, self.receiver_per_mb);
        write!(f, "{:<18}{sent:>9.1}+{received:.1} per MB", self.contestant)
    }
}

impl Counter {
    /// Counts from now on until all of these end. Writes to files of this name.
    ///
    /// # Errors
    /// `perf` does not begin.
    pub(crate) fn attach(
        members: &[Member],
        name: &Path,
        within: Duration,
    ) -> anyhow::Result<Self> {
        let ids: Vec<String> = members.iter().map(|it| it.id().to_string()).collect();
        let file = name.with_extension("calls");
        let mut argv: Vec<OsString> =
            ["perf", "stat", "-x,", "-I", EVERY_MS, "-e", EVENT, "-p", &ids.join(","), "-o"]
                .map(OsString::from)
                .to_vec();
        argv.push(file.clone().into());
        let mut perf = Member::start("perf", &argv, name.with_extension("log"))?;
        let counted = || total(&text_of(&file)?);
        let before = await_that("counting", &mut perf, within, counted)?;
        Ok(Self { perf, file, before })
    }

    /// How many calls there were, once all have ended.
    ///
    /// # Errors
    /// They have not, or `perf` fails.
    pub(crate) fn finish(self, within: Duration) -> anyhow::Result<u64> {
        let mut perf = [self.perf];
        wait_all(&mut perf, Instant::now(), within)?;
        let counted = total(&text_of(&self.file).unwrap_or_default());
        Ok(counted.context("perf counted nothing")?.saturating_sub(self.before))
    }
}

/// The sum of all that `perf stat -x,` wrote of the event, with or without `-I`. What was not
/// counted is 0: nothing ran. `None` where it does not stand.
fn total(text: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| {
        let mut fields = line.split(',').rev().skip_while(|&field| field != EVENT).skip(1);
        // The unit stands between the count and the event; it is empty.
        Some(fields.nth(1)?.trim().parse().unwrap_or(0))
    });
    let first: u64 = lines.next()?;
    Some(lines.fold(first, u64::saturating_add))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_perf_counted_is_summed_up() {
        let check = |text: &str, expected| assert_eq!(total(text), expected, "{text}");
        check("29,,raw_syscalls:sys_enter,120,100.00,,\n", Some(29));
        check(
            "# started on Thu\n\n     0.100130711,<not counted>,,raw_syscalls:sys_enter,0,100.00,,\n\
                  0.200346929,7,,raw_syscalls:sys_enter,64215,100.00,,\n\
                  0.300523900,35,,raw_syscalls:sys_enter,64215,100.00,,\n",
            Some(42),
        );
        check("     0.1,<not counted>,,raw_syscalls:sys_enter,0,100.00,,\n", Some(0));
        check("<not supported>,,cycles,0,100.00,,\n", None);
        check("event syntax error: 'raw_syscalls:sys_enter'\n", None);
        check("", None);
    }
}
