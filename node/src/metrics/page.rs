//! The page of `/metrics`: what every number is called, its unit, and what it means. Made anew for
//! each scrape of what the rooms count. Names end with their unit and, where they only grow, `_total`,
//! which the encoder adds. Never here: counting.

use std::{fmt, sync::Weak, time::Duration};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, prometheus_text, text},
    metrics::{
        MetricType, TypedMetric,
        counter::{ConstCounter, Counter},
        gauge::ConstGauge,
        info::Info,
    },
    registry::{Registry, Unit},
};
use shoal_core::session::{
    census::Census,
    decisions::{Consulted, DecisionCounts},
};

use super::{process, vitals::Looked};
use crate::{
    rpc::calls::Calls,
    session::{SessionHandle, meters::Meters, state_name},
    tracker::TrackerServer,
};

/// A label.
type Label = (&'static str, &'static str);

/// How the page is spelled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format of Prometheus, 0.0.4.
    Prometheus,
}

impl Format {
    /// OpenMetrics for whoever takes it, as Prometheus does; the older one for others.
    pub(super) fn for_accept(accept: &str) -> Self {
        match accept.contains("application/openmetrics-text") {
            true => Self::OpenMetrics,
            false => Self::Prometheus,
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
        }
    }
}

/// The page.
pub(super) fn encode(looked: &Looked, format: Format) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    let shoal = registry.sub_registry_with_prefix("shoal");
    let revision = option_env!("SHOAL_REVISION").unwrap_or("unknown");
    let build = Info::new([("version", env!("CARGO_PKG_VERSION")), ("revision", revision)]);
    shoal.register("build", "The program: its version, and the revision it was built from", build);
    gauge(shoal, "ready", "1 where the node is ready for work, as /readyz says", looked.ready);
    if let Some(rooms) = &looked.rooms {
        if let Some(session) = &rooms.session {
            of_loop(shoal, session, looked.census.as_ref());
            of_meters(shoal, session.meters());
            of_policies(shoal, session);
        }
        if let Some(tracker) = rooms.tracker.as_ref().and_then(Weak::upgrade) {
            of_tracker(shoal, &tracker);
        }
        let help = "Events told in the event stream";
        shoal.register("events", help, ConstCounter::new(rooms.events.revision()));
        of_calls(&mut registry, &rooms.calls);
        process::register(&mut registry, rooms.started_at);
    }
    let mut page = String::new();
    match format {
        Format::OpenMetrics => text::encode(&mut page, &registry)?,
        Format::Prometheus => prometheus_text::encode(&mut page, &registry)?,
    }
    Ok(page)
}

/// The session's loop, and what it says of itself where it answers.
fn of_loop(shoal: &mut Registry, session: &SessionHandle, said: Option<&(Census, Duration)>) {
    let help = "1 where the session's loop answered this scrape, 0 where it took too long";
    gauge(shoal, "session_up", help, said.is_some());
    let help = "Messages that wait for the session's loop";
    shoal.register("session_waiting_messages", help, ConstGauge::new(session.waiting()));
    let Some((census, took)) = said else { return };
    let help = "What the session's loop took to answer this scrape";
    let took = ConstGauge::new(took.as_secs_f64());
    shoal.register_with_unit("session_answer", help, Unit::Seconds, took);
    let states = census.torrents.map(|(state, count)| (("state", state_name(state)), count));
    shoal.register("torrents", "Torrents by their state", gauges(states));
    let help = "Magnet links whose metadata is looked for";
    shoal.register("magnets", help, ConstGauge::new(census.quests));
    shoal.register("jobs", "Jobs at work", ConstGauge::new(census.jobs));
    let peers = [
        (("state", "connected"), census.connected),
        (("state", "half_open"), census.half_open),
        (("state", "banned"), census.banned),
    ];
    let help = "Peers: connected (web seeds too), being dialled, and banned from a torrent";
    shoal.register("peers", help, gauges(peers));
    let help = "Peers that may be connected";
    shoal.register("peers_connected_max", help, ConstGauge::new(census.connections_max));
    let help = "Web seeds in use";
    shoal.register("web_seeds", help, ConstGauge::new(census.web_seeds));
    of_pieces(shoal, census);
    of_decisions(shoal, &census.decisions);
}

/// Pieces and their bytes.
fn of_pieces(shoal: &mut Registry, census: &Census) {
    let tally = census.tally;
    let bytes = [
        ("downloaded", tally.received, "Payload received from peers and web seeds for pieces"),
        ("uploaded", tally.sent, "Payload served to peers"),
        ("wasted", tally.wasted, "Payload received and discarded: not asked for, twice, or wrong"),
    ];
    for (name, bytes, help) in bytes {
        shoal.register_with_unit(name, help, Unit::Bytes, ConstCounter::new(bytes));
    }
    let help = "Pieces received, verified and written";
    shoal.register("pieces_verified", help, ConstCounter::new(tally.verified));
    let help = "Pieces received that failed their hash";
    shoal.register("pieces_failed", help, ConstCounter::new(tally.failed));
    let help = "Memory of pieces that are being fetched and verified";
    let used = ConstGauge::new(census.buffer_bytes);
    shoal.register_with_unit("buffers_used", help, Unit::Bytes, used);
    let help = "Memory that such pieces may take";
    let most = ConstGauge::new(census.buffer_bytes_max);
    shoal.register_with_unit("buffers_max", help, Unit::Bytes, most);
}

/// Whom chunks were asked from, and by whose word.
fn of_decisions(shoal: &mut Registry, counts: &DecisionCounts) {
    let of = |outcome: Consulted| counts.consulted[outcome as usize];
    let fallbacks = [
        ("abstained", of(Consulted::Abstained)),
        ("starved", of(Consulted::Starved)),
        ("failed", of(Consulted::Failed)),
        ("bypassed", of(Consulted::Bypassed)),
        ("late", of(Consulted::Late)),
        ("stale", of(Consulted::Stale)),
    ];
    let by = [
        ("native", counts.native),
        ("blind", counts.blind),
        ("script", of(Consulted::Chosen)),
        ("default", fallbacks.iter().map(|(_, count)| count).sum()),
        ("deferred", of(Consulted::Deferred)),
        ("nobody", of(Consulted::Nobody)),
    ];
    let help = "Decisions whom to ask for a chunk, by who decided: a native policy, the engine for \
                label-blind connections, a script, the default in a script's stead; or that nobody \
                was asked: deferred by a script, nobody left with a free slot";
    shoal.register("policy_decisions", help, counters(by.map(|(by, n)| (("by", by), n))));
    let help = "Decisions that the default policy made in a script's stead: abstained (no opinion), \
                starved (it waited for nothing), failed, bypassed (tripped, wedged or busy), late, \
                stale (its peer was gone by then)";
    let fallbacks = fallbacks.map(|(reason, n)| (("reason", reason), n));
    shoal.register("policy_fallbacks", help, counters(fallbacks));
}

/// What the rooms of the session count.
fn of_meters(shoal: &mut Registry, meters: &Meters) {
    let sides = [
        ("peer_received", &meters.net.received, "Bytes from peers, after handshakes"),
        ("peer_sent", &meters.net.sent, "Bytes to peers, after handshakes"),
    ];
    for (name, traffic, help) in sides {
        let (payload, protocol) = (traffic.payload.get(), traffic.protocol.get());
        let bytes = [(("kind", "payload"), payload), (("kind", "protocol"), protocol)];
        shoal.register_with_unit(name, help, Unit::Bytes, counters(bytes));
    }
    let rooms = meters.rooms.clone();
    let waiting = rooms.clone().map(|(room, meter)| (("room", room), meter.waiting));
    let help = "Disk jobs that wait for a thread, by room: pieces (verified and written), files \
                (opened, merged, removed), store (commits and records)";
    shoal.register("disk_waiting_jobs", help, by_label(waiting));
    let waited = rooms.clone().map(|(room, meter)| (("room", room), meter.waited));
    let help = "What disk jobs waited for a thread";
    shoal.register_with_unit("disk_wait", help, Unit::Seconds, by_label(waited));
    let worked = rooms.map(|(room, meter)| (("room", room), meter.worked));
    let help = "What disk jobs took once they had a thread";
    shoal.register_with_unit("disk_job", help, Unit::Seconds, by_label(worked));
    let help = "Troubles with disks: disk_full, io_error, changed (a file is not what it was), commit \
                (the state directory could not be written)";
    shoal.register("disk_troubles", help, meters.disk_troubles.clone());
    let help = "1 while the last commit to the state directory failed";
    shoal.register("disk_commit_failed", help, meters.commit_failed.clone());
    let help = "Announces to trackers that ended, by result";
    shoal.register("announces", help, meters.announces.clone());
}

/// Policies that are scripts.
fn of_policies(shoal: &mut Registry, session: &SessionHandle) {
    let (meters, (dropped, cpu)) = (session.meters(), session.policy_work());
    let help = "What scripts took for a decision; their number is that of the calls";
    shoal.register_with_unit("policy_decision", help, Unit::Seconds, meters.decisions.clone());
    let help = "How often the breaker of a policy tripped";
    shoal.register("policy_trips", help, meters.policy_trips.clone());
    let help = "How often the policy thread stopped answering";
    shoal.register("policy_wedges", help, meters.policy_wedges.clone());
    let help = "Events that policies were not told because too many waited";
    shoal.register("policy_events_dropped", help, ConstCounter::new(dropped));
    let help = "CPU time of the policy threads";
    let cpu = ConstCounter::new(cpu.as_secs_f64());
    shoal.register_with_unit("policy_cpu", help, Unit::Seconds, cpu);
}

/// The tracker role.
fn of_tracker(shoal: &mut Registry, tracker: &TrackerServer) {
    let (swarms, peers) = tracker.counts();
    let help = "Torrents of which the tracker knows peers";
    shoal.register("tracker_torrents", help, ConstGauge::new(swarms));
    let help = "Peers that the tracker knows, counted once in each torrent";
    shoal.register("tracker_peers", help, ConstGauge::new(peers));
    let mut requests = Vec::new();
    let meter = tracker.meter();
    for (way, meter) in [("http", &meter.http), ("udp", &meter.udp)] {
        let mut add = |kind, result, counter: &Counter| {
            let labels = [("way", way), ("kind", kind), ("result", result)];
            requests.push((labels, counter.clone()));
        };
        for (kind, counted) in [("announce", &meter.announce), ("scrape", &meter.scrape)] {
            add(kind, "ok", &counted.ok);
            add(kind, "refused", &counted.refused);
        }
        if way == "udp" {
            add("connect", "ok", &meter.connect.ok);
            add("connect", "refused", &meter.connect.refused);
        }
        add("malformed", "refused", &meter.malformed);
    }
    let help = "Requests to the tracker, by way, kind and result; over UDP a connect that is refused is \
                a request whose connection id is not its sender's";
    shoal.register("tracker_requests", help, Labelled(requests));
}

/// The calls of the control surface, under the names of go-grpc-prometheus.
fn of_calls(registry: &mut Registry, calls: &Calls) {
    let meters = calls.meters();
    let help = "Calls that began";
    registry.register("grpc_server_started", help, meters.started.clone());
    let help = "Calls that ended, by code; Canceled where the caller went away";
    registry.register("grpc_server_handled", help, meters.handled.clone());
    let help = "What calls took: until the end of the answer, or until the head of a stream";
    let seconds = meters.seconds.clone();
    registry.register_with_unit("grpc_server_handling", help, Unit::Seconds, seconds);
    let help = "Streams that have begun and not ended";
    registry.register("grpc_server_open_streams", help, meters.streams.clone());
}

fn gauge(registry: &mut Registry, name: &str, help: &str, is_set: bool) {
    registry.register(name, help, ConstGauge::new(u64::from(is_set)));
}

/// Gauges by one label.
fn gauges<const N: usize>(values: [(Label, usize); N]) -> Labelled<1, ConstGauge<usize>> {
    by_label(values.map(|(label, value)| (label, ConstGauge::new(value))))
}

/// Counters by one label.
fn counters<const N: usize>(values: [(Label, u64); N]) -> Labelled<1, ConstCounter<u64>> {
    by_label(values.map(|(label, value)| (label, ConstCounter::new(value))))
}

fn by_label<const N: usize, M>(values: [(Label, M); N]) -> Labelled<1, M> {
    Labelled(values.into_iter().map(|(label, metric)| ([label], metric)).collect())
}

/// Metrics of one name by their labels, told in this order.
#[derive(Debug)]
struct Labelled<const LABELS: usize, M>(Vec<([Label; LABELS], M)>);

impl<const LABELS: usize, M: EncodeMetric + TypedMetric> EncodeMetric for Labelled<LABELS, M> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(labels, metric)| metric.encode(encoder.encode_family(labels)?))
    }

    fn metric_type(&self) -> MetricType {
        M::TYPE
    }
}
