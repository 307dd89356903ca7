//! Who there is, when they come and when they go. Everything here is drawn from the seed before
//! anything happens: the same seed brings the same population, whatever policy it runs. Never here:
//! what hosts do while they are there.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use shoal_core::{
    bitfield::Bitfield,
    config::Config,
    ids::{JobId, PeerId, PieceIndex, TorrentId},
    metainfo::{
        Metainfo,
        create::{Content, CreateOptions, Pad, Plan as Creation},
    },
    rng::Rng,
    session::{
        Chooser, Event, Identity, Session,
        command::{Command, Done, Resume},
        event::Opened,
    },
    time::Timestamp,
    torrent::selection::Selection,
    tracker::registry::{Registry, RegistryConfig},
};

use super::{
    ORIGIN, Setting, World,
    act::POLICY,
    agenda::{Agenda, Turn, What},
    host::{Disk, Host, Node, Record, Uplink},
    link::Links,
    pipe::Pipe,
};
use crate::{
    checks::Checks,
    plan::{Arrival, Between, Class, Conduct, Plan, Stay},
    policy::{self, Policy},
    trace::Trace,
};

/// Where every host listens.
const PORT: u16 = 7000;
/// The only tracker.
const TRACKER: &str = "http://tracker.sim/announce";

impl World {
    /// A world in which nothing has happened.
    pub(crate) fn new(plan: Arc<Plan>, setting: Setting) -> Self {
        let mut seeds = Rng::new(setting.seed);
        let (mut drawn, jitter, mischief) = (seeds.fork(), seeds.fork(), seeds.fork());
        let metainfo = metainfo(&plan);
        let mut world = Self {
            now: ORIGIN,
            agenda: Agenda::default(),
            hosts: Vec::new(),
            by_addr: BTreeMap::new(),
            by_id: BTreeMap::new(),
            links: Links::default(),
            between: between(&plan),
            cuts: Vec::new(),
            registry: registry(&plan, seeds.u64()),
            tracker_down: 0,
            policies: setting.policies,
            jitter,
            mischief,
            sequence: 0,
            across_bytes: 0,
            decisions: BTreeMap::new(),
            trace: Trace::new(setting.words),
            checks: Checks::new(&plan),
            unfinished: 0,
            absent: 0,
            haves: BTreeMap::new(),
            actions: Vec::new(),
            metainfo,
            plan,
        };
        world.settle(&mut drawn);
        world
    }

    /// Draws the population, and when what happens.
    fn settle(&mut self, drawn: &mut Rng) {
        let plan = Arc::clone(&self.plan);
        for (class, of_class) in plan.classes.iter().enumerate() {
            let mut came = Duration::ZERO;
            for index in 0..of_class.count {
                let host = self.hosts.len();
                self.hosts.push(self.host(class, host, drawn));
                self.by_addr.insert(self.hosts[host].addr, host);
                self.by_id.insert(self.hosts[host].peer_id, host);
                came = match of_class.arrival {
                    Arrival::At(at) => at,
                    Arrival::Over(from, span) => from + span * index / of_class.count,
                    Arrival::Every(from, _) if index == 0 => from,
                    Arrival::Every(_, mean) => came + exponential(mean, drawn),
                };
                self.agenda.at(ORIGIN + came, What::Come(host));
                self.absent += 1;
                self.unfinished += usize::from(of_class.conduct.is_honest() && of_class.has < 1.0);
                if let Stay::ForAbout(mean) = of_class.stay {
                    let at = ORIGIN + came + exponential(mean, drawn);
                    self.agenda.at(at, What::Go(host));
                }
            }
        }
        for (index, fault) in plan.faults.iter().enumerate() {
            self.agenda.at(ORIGIN + fault.at, What::Fault(index, Turn::Begins));
            if let Some(until) = fault.until {
                self.agenda.at(ORIGIN + until, What::Fault(index, Turn::Ends));
            }
        }
        self.agenda.at(ORIGIN + Duration::from_secs(1), What::Inspect);
    }

    fn host(&self, class: usize, index: usize, drawn: &mut Rng) -> Host {
        let of_class = &self.plan.classes[class];
        let pieces = self.metainfo.piece_count() as usize;
        let [_, b, c, d] = u32::try_from(index + 1).unwrap_or(u32::MAX).to_be_bytes();
        let addr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, b, c, d)), PORT);
        let mut id = *b"-SH0100-............";
        for digit in &mut id[8..] {
            *digit = b"0123456789abcdefghijklmnopqrstuv"[drawn.below(32)];
        }
        let noise = match of_class.conduct {
            Conduct::Corrupter(part) => part,
            Conduct::Honest
            | Conduct::FreeRider
            | Conduct::Liar
            | Conduct::SlowLoris(_)
            | Conduct::Flapper(_) => 0.0,
        };
        Host {
            class,
            addr,
            peer_id: PeerId(id),
            seed: drawn.u64(),
            life: 0,
            node: None,
            disk: Disk::new(of_class.disk_bps, share(pieces, of_class.has, drawn)),
            uplink: Uplink { bps: of_class.link.up_bps, busy: false, ring: Default::default() },
            downlink: {
                let link = of_class.link;
                Pipe::new(Some(link.down_bps), link.latency, link.queue)
            },
            noise,
            was_broken: false,
            record: Record::default(),
        }
    }

    pub(super) fn come(&mut self, host: usize) {
        self.absent -= 1;
        self.hosts[host].record.came = Some(self.now);
        self.start(host);
    }

    /// Starts the process of a host, for the first time or again.
    pub(super) fn start(&mut self, host: usize) {
        let plan = Arc::clone(&self.plan);
        let class = &plan.classes[self.hosts[host].class];
        let node = self.begin(host, class);
        self.hosts[host].node = Some(node);
        let script = self.hosts[host].node.as_ref().and_then(|node| node.script.as_ref());
        let chooser = match (&self.policies[self.hosts[host].class], script) {
            (_, Some(script)) => Chooser::Consulted(POLICY, script.hooks()),
            (Policy::Native(native), None) => Chooser::Native(*native),
            (Policy::Script(_), None) => Chooser::default(),
        };
        self.command(host, Command::SetChooser(None, Some(chooser)));
        let (record, now) = (&self.hosts[host].record, self.now);
        let (downloaded, uploaded) =
            self.hosts[host].node.as_ref().map_or((0, 0), |node| (node.before[1], node.before[0]));
        let first = record.came == Some(now) && self.hosts[host].life == 0;
        let (have, unverified) = match first {
            true => (self.hosts[host].disk.holds.clone(), Vec::new()),
            false => self.hosts[host].disk.found(now),
        };
        let seeds = have.is_full();
        if let Some(node) = self.node(host) {
            node.serves = have.clone();
        }
        let opened = Opened { have, unverified, downloaded, uploaded };
        let metainfo = Arc::clone(&self.metainfo);
        let (resume, selection) = (Resume::default(), Selection::default());
        let added = self.command(host, Command::Add { metainfo, opened, resume, selection });
        let Some(Ok(Done::Added(torrent))) = added else { return };
        if let Some(node) = self.node(host) {
            node.torrent = torrent;
        }
        if seeds {
            self.command(host, Command::ConnectTracker(torrent));
            return self.completed(host);
        }
        let download = Command::AutoDownload { torrent, available_only: false, patient: true };
        if let Some(Ok(Done::Job { job, .. })) = self.command(host, download)
            && let Some(node) = self.node(host)
        {
            node.job = Some(job);
        }
    }

    fn begin(&mut self, host: usize, class: &Class) -> Node {
        let config = Config {
            unchoke: class.unchoke,
            connections_per_torrent_max: class.connections_max,
            ..Config::default()
        };
        let zone = self.plan.zones[class.zone].name.to_string();
        let it = &self.hosts[host];
        let identity = Identity {
            peer_id: it.peer_id,
            listen_port: PORT,
            advertise: None,
            labels: Arc::new(BTreeMap::from([("zone".to_owned(), zone)])),
        };
        let seed = it.seed.wrapping_add(u64::from(it.life));
        let session = Session::new(config, identity, seed, self.now);
        let script = match &self.policies[it.class] {
            Policy::Native(_) => None,
            // It was loaded when the run began; what it draws differs from host to host.
            Policy::Script(source) => {
                let mut source = source.clone();
                source.seed = seed;
                policy::load(&source).ok().map(Box::new)
            }
        };
        let pieces = self.metainfo.piece_count() as usize;
        let Record { uploaded_told, downloaded_told, wasted, .. } = it.record;
        Node {
            session: Box::new(session),
            script,
            torrent: TorrentId(0),
            job: None,
            conns: BTreeMap::new(),
            wake: Timestamp::NEVER,
            serves: Bitfield::new(pieces),
            buffers: BTreeMap::new(),
            verifying: BTreeMap::new(),
            replies: BTreeMap::new(),
            decisions_seen: 0,
            leaving: false,
            before: [uploaded_told, downloaded_told, wasted],
            told: [0, 0],
            unasked: 0,
            able: None,
            moved: self.now,
            announced: None,
        }
    }

    pub(super) fn job_ended(&mut self, host: usize, job: JobId) {
        let Some(node) = self.hosts[host].node.as_ref().filter(|node| node.job == Some(job)) else {
            return;
        };
        let ended = node.session.job(job).and_then(|view| view.ended);
        if ended.is_none_or(|(_, result)| result.is_err()) {
            return;
        }
        self.completed(host);
    }

    /// A host has everything: by a download, or from the start.
    fn completed(&mut self, host: usize) {
        let record = &mut self.hosts[host].record;
        if record.complete.is_some() || record.left.is_some() {
            return;
        }
        record.complete = Some(self.now);
        let class = &self.plan.classes[self.hosts[host].class];
        self.unfinished -= usize::from(class.conduct.is_honest() && class.has < 1.0);
        if let Stay::AfterComplete(stay) = class.stay {
            self.plan_for(stay, What::Go(host));
        }
    }

    /// A host says goodbye.
    pub(super) fn go(&mut self, host: usize) {
        if let Some(node) = self.node(host) {
            node.leaving = true;
            self.sequence += 1;
            let id = shoal_core::ids::CommandId(self.sequence);
            self.fact(host, Event::CommandIssued { id, command: Command::Shutdown });
        } else {
            self.gone(host);
        }
    }

    /// It is gone.
    pub(super) fn gone(&mut self, host: usize) {
        let record = &self.hosts[host].record;
        if record.left.is_some() {
            return;
        }
        let class = &self.plan.classes[self.hosts[host].class];
        let owed = class.conduct.is_honest() && class.has < 1.0 && record.complete.is_none();
        self.unfinished -= usize::from(owed);
        self.hosts[host].record.left = Some(self.now);
        // Its last actions are still being carried out: it ends once they are.
        let life = self.hosts[host].life;
        self.plan_for(Duration::ZERO, What::Ended(host, life));
    }

    /// The process of a host that went ends.
    pub(super) fn ended(&mut self, host: usize, life: u32) {
        if self.hosts[host].life == life {
            self.crash(host);
        }
    }
}

/// Which pieces a host begins with.
fn share(pieces: usize, part: f64, drawn: &mut Rng) -> Bitfield {
    if part >= 1.0 {
        return Bitfield::full(pieces);
    }
    let mut share = Bitfield::new(pieces);
    for piece in 0..u32::try_from(pieces).unwrap_or(u32::MAX) {
        if part > 0.0 && drawn.unit() < part {
            share.set(PieceIndex(piece));
        }
    }
    share
}

/// A random time of this mean, exponentially distributed.
fn exponential(mean: Duration, drawn: &mut Rng) -> Duration {
    // `1 - unit` is never 0. The logarithm of a library differs by a bit from machine to machine,
    // which microseconds do not show but at a boundary: powers of two are summed up instead.
    let micros = mean.as_micros() as f64 * -log(1.0 - drawn.unit());
    Duration::from_micros(micros as u64)
}

/// The natural logarithm of a number in `(0, 1]`, by additions and multiplications alone, which are
/// the same on every machine.
fn log(x: f64) -> f64 {
    let (mut x, mut halvings) = (x, 0.0);
    while x < 0.5 {
        (x, halvings) = (x * 2.0, halvings + 1.0);
    }
    // ln x = 2 artanh((x - 1) / (x + 1)); for x in [0.5, 1] the argument is at most a third.
    let t = (x - 1.0) / (x + 1.0);
    let (mut power, mut sum, mut n) = (t, 0.0, 1.0);
    for _ in 0..20 {
        sum += power / n;
        (power, n) = (power * t * t, n + 2.0);
    }
    2.0 * sum - halvings * std::f64::consts::LN_2
}

fn metainfo(plan: &Plan) -> Arc<Metainfo> {
    let creation = Creation::new(CreateOptions {
        name: format!("{}.bin", plan.name),
        content: Content::Single { len: plan.content_bytes },
        piece_len: Some(plan.piece_len),
        pad: Pad::Never,
        private: false,
        trackers: vec![vec![TRACKER.to_owned()]],
        web_seeds: Vec::new(),
        comment: None,
        created_unix: None,
    });
    let creation = creation.expect("a plan's content was checked");
    let hashes = vec![[7; 20]; creation.layout().piece_count() as usize];
    let file = creation.finish(&hashes).expect("there is a hash for each piece");
    Arc::new(Metainfo::parse(&file).expect("what we make we read"))
}

fn between(plan: &Plan) -> BTreeMap<(usize, usize), (Pipe, Duration)> {
    let both = plan.between.iter().flat_map(|between| {
        let (a, b) = between.zones;
        [(a, b), (b, a)].map(|zones| (zones, between))
    });
    both.map(|(zones, between)| {
        let Between { rate_bps, latency, queue, .. } = *between;
        (zones, (Pipe::new(rate_bps, latency, queue), latency))
    })
    .collect()
}

fn registry(plan: &Plan, seed: u64) -> Registry {
    let config = RegistryConfig {
        interval: plan.tracker.interval,
        min_interval: plan.tracker.min_interval,
        numwant_max: plan.tracker.numwant_max,
        expire_after: (plan.tracker.interval * 5).max(Duration::from_secs(60)),
        ..RegistryConfig::default()
    };
    Registry::new(config, seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_that_of_the_library() {
        for x in [1.0, 0.999_999, 0.75, 0.5, 0.3, 1e-3, 1e-9, f64::EPSILON] {
            assert!((log(x) - f64::ln(x)).abs() < 1e-12 * (1.0 + f64::ln(x).abs()), "{x}");
        }
    }

    #[test]
    fn random_times_have_their_mean() {
        let (mut drawn, mean) = (Rng::new(1), Duration::from_secs(10));
        let sum: Duration = (0..10_000).map(|_| exponential(mean, &mut drawn)).sum();
        let found = sum.as_secs_f64() / 10_000.0;
        assert!((found - 10.0).abs() < 0.5, "{found}");
    }
}
