//! Fills the buffer of one lease: a request for each part of a file that it lies in, straight from
//! the body into the buffer; padding is zeros. Never here: another lease.

use std::{
    error::Error,
    future::poll_fn,
    ops::Range,
    task::Poll,
    time::{Duration, Instant, SystemTime},
};

use reqwest::{
    Response, Url,
    header::{ACCEPT_ENCODING, RANGE},
};
use shoal_core::{
    config::BLOCK_LEN,
    ids::ConnId,
    metainfo::FileSlice,
    session::{
        Event, Lease,
        fault::{Retry, WebSeedFault},
    },
};
use tokio::time::timeout;

use super::{guard::Refused, reply::Ask, seed::Seed};
use crate::{
    http,
    net::{
        ExtentBuffer, NetEvent,
        event::{REPORT_BYTES, REPORT_EVERY},
        rate_limit::{Direction, Pace},
    },
};

/// What a body must bring in each [`slow_after`](super::WebSeedConfig::slow_after), bytes.
const LEAST: u64 = 16 * 1024;

/// A lease being fetched.
pub(super) struct Fetch<'a> {
    seed: &'a Seed,
    lease: Lease,
    buffer: &'a mut ExtentBuffer,
    pace: Pace,
    unreported: u32,
    latency: Duration,
    reported_at: Instant,
}

/// How fast a body comes.
struct Drip {
    since: Instant,
    bytes: u64,
}

impl<'a> Fetch<'a> {
    pub(super) fn new(seed: &'a Seed, lease: Lease, buffer: &'a mut ExtentBuffer) -> Self {
        let shared = &seed.shared;
        // Ids of leases and connections are of one sequence: nobody else waits under this one.
        let waits_as = ConnId(lease.id.0);
        let (torrent, node) = (&seed.target.limits, &shared.limits);
        let pace = Pace::new(waits_as, Direction::Download, torrent, node, shared.clock);
        let (latency, reported_at) = (Duration::ZERO, Instant::now());
        Self { seed, lease, buffer, pace, unreported: 0, latency, reported_at }
    }

    /// Fetches every block that is not filled.
    pub(super) async fn run(&mut self) -> Result<(), WebSeedFault> {
        while let Some(range) = first_run(self.buffer) {
            let layout = self.seed.target.metainfo.layout();
            let (offset, len) = (self.lease.offset + range.start, range.end - range.start);
            let slices = layout.slices(self.lease.piece, offset, len).collect::<Vec<_>>();
            let mut at = range.start;
            for slice in slices {
                // A slice is no longer than its extent.
                let end = at + slice.len as u32;
                if slice.pad {
                    self.buffer.target(at..end).fill(0);
                    self.buffer.filled_by(self.seed.conn, at..end);
                } else {
                    self.fetch(slice, at..end).await?;
                }
                at = end;
            }
            debug_assert_eq!(at, range.end, "the slices of {:?}", self.lease);
        }
        Ok(())
    }

    /// Fetches a part of a file into this part of the buffer.
    async fn fetch(&mut self, slice: FileSlice, into: Range<u32>) -> Result<(), WebSeedFault> {
        let metainfo = &self.seed.target.metainfo;
        let url = metainfo.web_seed_url(&self.seed.url, slice.file);
        let url = url.and_then(|url| Url::parse(&url).ok());
        let url = url.ok_or_else(|| fault("no URL of a file".to_owned(), Retry::Never))?;
        let file_len = metainfo.files[slice.file].len;
        let ask = Ask { first: slice.file_offset, len: slice.len, file_len };
        let config = &self.seed.shared.config;
        let asked_at = Instant::now();
        let request = self.seed.shared.client.get(url);
        let request = request.header(RANGE, ask.range()).header(ACCEPT_ENCODING, "identity");
        let response = match timeout(config.head_timeout, request.send()).await {
            Ok(response) => response.map_err(|error| failed(&error))?,
            Err(_) => return late("no answer", config.head_timeout),
        };
        ask.judge(response.status(), response.headers(), SystemTime::now())?;
        self.latency = asked_at.elapsed();
        self.stream(response, into).await
    }

    /// Takes a body as it comes. Of one that is longer than was asked for, nothing more is read.
    async fn stream(
        &mut self,
        mut response: Response,
        into: Range<u32>,
    ) -> Result<(), WebSeedFault> {
        let (pause, slow_after) =
            (self.seed.shared.config.pause_timeout, self.seed.shared.config.slow_after);
        let mut drip = Drip { since: Instant::now(), bytes: 0 };
        let mut at = into.start;
        loop {
            // What came is told in time, though nothing follows.
            let wait = if self.unreported > 0 { pause.min(REPORT_EVERY) } else { pause };
            let bytes = match timeout(wait, response.chunk()).await {
                Ok(chunk) => chunk.map_err(|error| failed(&error))?,
                Err(_) if self.unreported > 0 => {
                    self.tell_progress().await;
                    continue;
                }
                Err(_) => return late("the answer stopped", pause),
            };
            let Some(bytes) = bytes else { break };
            let left = (into.end - at) as usize;
            if bytes.len() > left {
                return Err(fault("sends more than was asked for".to_owned(), Retry::Later));
            }
            let end = at + bytes.len() as u32;
            self.buffer.target(at..end).copy_from_slice(&bytes);
            self.buffer.filled_by(self.seed.conn, at..end);
            self.unreported += bytes.len() as u32;
            at = end;
            drip.bytes += bytes.len() as u64;
            drip.since += self.pay(bytes.len() as u32).await;
            if drip.since.elapsed() >= slow_after {
                if drip.bytes < LEAST {
                    return Err(fault("sends next to nothing".to_owned(), Retry::Later));
                }
                drip = Drip { since: Instant::now(), bytes: 0 };
            }
            let due = self.reported_at.elapsed() >= REPORT_EVERY;
            if due || u64::from(self.unreported) >= REPORT_BYTES {
                self.tell_progress().await;
            }
        }
        match at == into.end {
            true => Ok(()),
            false => Err(fault("sends less than was asked for".to_owned(), Retry::Later)),
        }
    }

    /// Waits until the rate limits allow what came, which goes on their account: while it waits,
    /// nothing more is read. Returns how long it waited.
    async fn pay(&mut self, mut bytes: u32) -> Duration {
        let vouch_every = self.seed.shared.config.vouch_every;
        let began = Instant::now();
        let mut vouch = began + vouch_every;
        while bytes > 0 && self.pace.is_limited() {
            if let Some(most) = self.pace.ask(bytes, Instant::now()) {
                let paid = most.min(bytes);
                self.pace.used(paid as usize);
                bytes -= paid;
                continue;
            }
            self.tell_progress().await;
            let until = self.pace.deadline().map_or(vouch, |deadline| deadline.min(vouch));
            let pace = &self.pace;
            let called = poll_fn(|cx| match pace.is_called(cx) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            });
            // Called or not: it asks again.
            let _ = tokio::time::timeout_at(until.into(), called).await;
            if Instant::now() >= vouch {
                self.vouch().await;
                vouch = Instant::now() + vouch_every;
            }
        }
        began.elapsed()
    }

    /// Reports what came since the last report.
    pub(super) async fn tell_progress(&mut self) {
        self.reported_at = Instant::now();
        let bytes = std::mem::take(&mut self.unreported);
        if bytes > 0 {
            let latency = std::mem::take(&mut self.latency);
            self.tell(bytes, u64::try_from(latency.as_micros()).unwrap_or(u64::MAX)).await;
        }
    }

    /// Reports that a rate limit holds the lease up, not the server.
    async fn vouch(&self) {
        self.tell(0, 0).await;
    }

    async fn tell(&self, bytes: u32, latency_us: u64) {
        let (conn, lease) = (self.seed.conn, self.lease.id);
        let event = Event::LeaseProgress { conn, lease, bytes, latency_us };
        self.seed.shared.tell(NetEvent::Core(event)).await;
    }
}

/// The first blocks that are not filled, as bytes of the extent.
fn first_run(buffer: &ExtentBuffer) -> Option<Range<u32>> {
    let missing = buffer.missing();
    let first = missing.trailing_zeros();
    if first == u64::BITS {
        return None;
    }
    let blocks = (missing >> first).trailing_ones();
    let start = first * BLOCK_LEN;
    Some(start..(start + blocks * BLOCK_LEN).min(buffer.len()))
}

fn fault(cause: String, retry: Retry) -> WebSeedFault {
    WebSeedFault { cause, retry }
}

fn late<T>(what: &str, limit: Duration) -> Result<T, WebSeedFault> {
    Err(fault(format!("{what} within {limit:?}"), Retry::Later))
}

/// Why a request failed. Where our own rules refused it, nothing will change.
fn failed(error: &reqwest::Error) -> WebSeedFault {
    let mut source: Option<&(dyn Error + 'static)> = error.source();
    while let Some(inner) = source {
        if let Some(refused) = inner.downcast_ref::<Refused>() {
            return fault(refused.to_string(), Retry::Never);
        }
        source = inner.source();
    }
    fault(http::cause(error), Retry::Later)
}
