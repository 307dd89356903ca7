//! The summary of a run, at most 80 columns wide. Never here: the run.

use std::{fmt, time::Duration};

use bytesize::ByteSize;
use shoal_core::session::view::JobDone;

use crate::policy_host::{PolicyKind, PolicyStatus};

/// More servers than these do not fit beside each other.
const COLUMNS_MAX: usize = 6;

/// How it went.
#[derive(Debug)]
pub(super) struct Summary {
    /// Bytes of the content, without padding.
    pub(super) content_len: u64,
    /// Chunks of the torrent.
    pub(super) chunks: u32,
    /// From the first command to the last copy merged.
    pub(super) took: Duration,
    /// Who may have served: its port and its name.
    pub(super) servers: Vec<(u16, String)>,
    /// Who downloaded.
    pub(super) leechers: Vec<Leecher>,
}

/// One download.
#[derive(Debug)]
pub(super) struct Leecher {
    pub(super) name: String,
    pub(super) done: JobDone,
    pub(super) took: Duration,
    pub(super) policy: PolicyStatus,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, chunks) = (self.leechers.len(), self.chunks);
        let content = ByteSize(self.content_len);
        let copies = if count == 1 { "1 copy" } else { &format!("{count} copies") };
        writeln!(f, "{copies} of {content} ({chunks} chunks), each the same as its source")?;
        let total = self.content_len.saturating_mul(count as u64);
        let rate = megabytes_a_second(total, self.took);
        writeln!(f, "{:.2} s, {rate:.0} MB/s in all", self.took.as_secs_f64())?;
        writeln!(f)?;
        if self.servers.len() <= COLUMNS_MAX {
            self.matrix(f)?
        } else {
            self.list(f)?
        }
        writeln!(f)?;
        let wasted: u64 = self.leechers.iter().map(|leecher| leecher.done.wasted).sum();
        writeln!(f, "wasted {}", ByteSize(wasted))?;
        self.policy(f)
    }
}

impl Summary {
    /// Rows download, columns serve; chunks.
    fn matrix(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<11}", "chunks from")?;
        for (_, name) in &self.servers {
            write!(f, " {name:>10}")?;
        }
        writeln!(f)?;
        for leecher in &self.leechers {
            write!(f, "{:<11}", leecher.name)?;
            for (port, name) in &self.servers {
                if *name == leecher.name {
                    write!(f, " {:>10}", "-")?;
                } else {
                    write!(f, " {:>10}", leecher.chunks_from(*port))?;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }

    /// For more nodes than columns fit: from the seeder, from leechers, and from how many of them.
    fn list(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<11} {:>10} {:>14} {:>9}",
            "chunks from", "seeder", "other leechers", "who"
        )?;
        for leecher in &self.leechers {
            let (mut seeder, mut others, mut who) = (0, 0, 0);
            for (port, name) in &self.servers {
                match leecher.chunks_from(*port) {
                    chunks if name == "seeder" => seeder += chunks,
                    0 => {}
                    chunks => (others, who) = (others + chunks, who + 1),
                }
            }
            writeln!(f, "{:<11} {seeder:>10} {others:>14} {who:>9}", leecher.name)?;
        }
        Ok(())
    }

    fn policy(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Leecher { policy: first, .. }) = self.leechers.first() else { return Ok(()) };
        write!(f, "policy {}", first.name)?;
        if first.kind == PolicyKind::Native {
            return writeln!(f, " (native)");
        }
        let sum = |count: fn(&PolicyStatus) -> u64| -> u64 {
            self.leechers.iter().map(|leecher| count(&leecher.policy)).sum()
        };
        let (calls, chosen) = (sum(|policy| policy.calls), sum(|policy| policy.chosen));
        let fallbacks = sum(|policy| policy.fallbacks);
        writeln!(f, ": {calls} decisions, {chosen} chosen, {fallbacks} by the default")?;
        for leecher in &self.leechers {
            if let Some(error) = &leecher.policy.last_error {
                let message = &error.message;
                writeln!(f, "  {}: {}:{}: {message}", leecher.name, error.file, error.line)?;
            }
        }
        Ok(())
    }
}

impl Leecher {
    fn chunks_from(&self, port: u16) -> u32 {
        let by = self.done.served_by.iter().filter(|by| by.addr.port() == port);
        by.map(|by| by.pieces).sum()
    }
}

fn megabytes_a_second(bytes: u64, took: Duration) -> f64 {
    // Exact up to 2^53 bytes.
    bytes as f64 / 1e6 / took.as_secs_f64().max(1e-9)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use shoal_core::{policy::native::Native, session::view::ServedBy};

    use super::*;
    use crate::policy_host::Scope;

    fn policy() -> PolicyStatus {
        PolicyStatus::natively(Native::LowestUploaded, Scope::Node)
    }

    fn summary(leechers: u16) -> Summary {
        let name = |n: u16| format!("leecher-{n}");
        let by = |port: u16, pieces| {
            let addr: SocketAddr = ([127, 0, 0, 1], port).into();
            ServedBy { addr, pieces, bytes: 0 }
        };
        let leecher = |n: u16| Leecher {
            name: name(n),
            done: JobDone { served_by: vec![by(1, 300), by(3, 212)], ..JobDone::default() },
            took: Duration::from_secs(2),
            policy: policy(),
        };
        Summary {
            content_len: 256 << 20,
            chunks: 512,
            took: Duration::from_secs(2),
            servers: (0..=leechers)
                .map(|n| (n + 1, if n == 0 { "seeder".to_owned() } else { name(n) }))
                .collect(),
            leechers: (1..=leechers).map(leecher).collect(),
        }
    }

    #[test]
    fn the_summary_fits_eighty_columns_however_many_there_are() {
        for leechers in [1, 3, 5, 6, 64] {
            let text = summary(leechers).to_string();
            assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        }
    }

    #[test]
    fn it_says_who_served_whom() {
        let text = summary(3).to_string();
        assert!(text.contains("3 copies of 256.0 MiB (512 chunks)"), "{text}");
        let row = text.lines().find(|line| line.starts_with("leecher-1")).unwrap();
        let cells: Vec<_> = row.split_whitespace().collect();
        assert_eq!(cells, ["leecher-1", "300", "-", "212", "0"]);
        assert!(summary(64).to_string().contains("leecher-64"), "each has a row");
    }
}
