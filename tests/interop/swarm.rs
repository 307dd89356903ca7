//! What a test with foreign clients is about: the trackers, the payloads with their torrents, and
//! what the trackers count. Never here: who fetches from whom.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use shoal::v1;
use shoal_core::{ids::InfoHash, tracker::scrape::ScrapeEntry};
use tempfile::TempDir;

use crate::{
    binaries::Program,
    clients::{
        Client, Kind, opentracker,
        shoal::{Node, TRACKER_PORT},
    },
    harness::{CHUNK, info_hash, last, sample, until},
    net::{Net, Place},
    trees,
};

/// How long all transfers of a test may take, on a machine with much else to do.
pub const TRANSFER: Duration = Duration::from_secs(120);
/// Bytes of the single files: no whole number of chunks.
const LEN: usize = 3 * 1024 * 1024 + 4321;
/// How often trackers are asked.
const ASK: Duration = Duration::from_millis(250);

/// A tracker, and the way to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Tracker {
    OursHttp,
    OursUdp,
    OpenHttp,
    OpenUdp,
}

/// What is in a torrent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// One file.
    File,
    /// A folder whose chunks span files.
    Tree,
    /// A folder with padding files.
    Padded,
}

/// Something to share.
pub struct Payload {
    pub tracker: Tracker,
    pub name: String,
    /// Where it lies.
    pub source: PathBuf,
    pub metainfo: Vec<u8>,
    pub info_hash: InfoHash,
    /// The metainfo on disk.
    pub torrent: PathBuf,
}

/// A network with trackers in it, and a folder.
pub struct Room {
    running: Option<(Node, Option<Client>)>,
    pub shoald: Program,
    ours: Place,
    open: Option<Place>,
    pub net: Net,
    pub dir: TempDir,
}

impl Tracker {
    pub const ALL: [Self; 4] = [Self::OursHttp, Self::OursUdp, Self::OpenHttp, Self::OpenUdp];

    pub fn name(self) -> &'static str {
        match self {
            Self::OursHttp => "ours-http",
            Self::OursUdp => "ours-udp",
            Self::OpenHttp => "opentracker-http",
            Self::OpenUdp => "opentracker-udp",
        }
    }
}

impl Shape {
    pub const ALL: [Self; 3] = [Self::File, Self::Tree, Self::Padded];

    fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Tree => "tree",
            Self::Padded => "padded",
        }
    }

    fn padding(self) -> v1::Padding {
        match self {
            Self::File => v1::Padding::Auto,
            Self::Tree => v1::Padding::Never,
            Self::Padded => v1::Padding::Always,
        }
    }

    fn write(self, path: &Path) {
        match self {
            Self::File => {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, sample(LEN, 70)).unwrap();
            }
            Self::Tree | Self::Padded => trees::plant(path),
        }
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Payload {
    /// What of our own copy below `folder` differs, if anything does.
    pub fn difference(&self, folder: &Path) -> Option<String> {
        trees::difference_but_padding(&self.source, &folder.join(&self.name), true)
    }

    /// What of a foreign client's copy differs. Padding may lie there as files.
    pub fn difference_at(&self, kind: Kind, folder: &Path) -> Option<String> {
        let copy = folder.join(&self.name);
        trees::difference_but_padding(&self.source, &copy, kind.makes_empty_files())
    }
}

impl Room {
    /// A network with hosts for the trackers. None where shoald is missing, which is said.
    pub async fn new() -> Option<Self> {
        let shoald = Program::shoald()?;
        let net = Net::new().await;
        let (ours, open) = (net.host(), opentracker::is_installed().then(|| net.host()));
        Some(Self { running: None, shoald, ours, open, net, dir: tempfile::tempdir().unwrap() })
    }

    /// The trackers there are.
    pub fn trackers(&self) -> impl Iterator<Item = Tracker> {
        Tracker::ALL.into_iter().filter(|tracker| match tracker {
            Tracker::OursHttp | Tracker::OursUdp => true,
            Tracker::OpenHttp | Tracker::OpenUdp => self.open.is_some(),
        })
    }

    fn url(&self, tracker: Tracker) -> String {
        let ours = |scheme: &str| format!("{scheme}://{}:{TRACKER_PORT}/announce", self.ours.ip);
        let open = |scheme: &str| opentracker::url(scheme, self.open.as_ref().unwrap().ip);
        match tracker {
            Tracker::OursHttp => ours("http"),
            Tracker::OursUdp => ours("udp"),
            Tracker::OpenHttp => open("http"),
            Tracker::OpenUdp => open("udp"),
        }
    }

    /// Makes payloads, and their torrents on a node of ours, which has them from then on. Starts
    /// the trackers for them.
    pub async fn open(&mut self, maker: &Node, wanted: &[(Tracker, Shape)]) -> Vec<Payload> {
        let mut payloads = Vec::new();
        for &(tracker, shape) in wanted {
            payloads.push(self.make(maker, tracker, shape).await);
        }
        let only: Vec<InfoHash> = payloads.iter().map(|payload| payload.info_hash).collect();
        let ours = Node::tracker(&self.shoald, &self.ours, &self.dir.path().join("tracker")).await;
        let open = self.open.as_ref();
        let open = open.map(|place| opentracker::start(place, &only, self.dir.path()));
        let has_open = open.is_some();
        self.running = Some((ours, open));
        if has_open {
            let url = self.url(Tracker::OpenHttp);
            let probe = opentracker::probe();
            until("opentracker has read its list", async || {
                self.ours.announce(&url, probe.clone()).await.ok()
            })
            .await;
        }
        payloads
    }

    async fn make(&self, maker: &Node, tracker: Tracker, shape: Shape) -> Payload {
        let name = format!("{}-{}", shape.name(), tracker.name());
        let source = self.dir.path().join("source").join(&name);
        shape.write(&source);
        let request = v1::CreateTorrentRequest {
            path: source.to_str().unwrap().to_owned(),
            chunk_size_bytes: CHUNK,
            padding: shape.padding().into(),
            trackers: vec![v1::TrackerTier { urls: vec![self.url(tracker)] }],
            ..v1::CreateTorrentRequest::default()
        };
        let made = maker.torrents().create_torrent(request).await.unwrap().into_inner();
        let metainfo = last(made).await.unwrap().metainfo;
        let torrent = self.dir.path().join(format!("{name}.torrent"));
        fs::write(&torrent, &metainfo).unwrap();
        assert!(shape != Shape::Padded || trees::padding_files(&metainfo) > 0);
        let info_hash = info_hash(&metainfo);
        Payload { tracker, name, source, metainfo, info_hash, torrent }
    }

    /// Asks the trackers again and again about payloads, until `fits` has been true for each; says
    /// how long each took, and of which it was not true in time, what was counted.
    pub async fn watch(
        &self,
        payloads: &[Payload],
        fits: impl Fn(&Payload, ScrapeEntry) -> bool,
    ) -> (Vec<(String, Duration)>, Vec<String>) {
        let (start, mut done, mut last) = (Instant::now(), Vec::new(), BTreeMap::new());
        let mut left: Vec<&Payload> = payloads.iter().collect();
        while !left.is_empty() && start.elapsed() < TRANSFER {
            for tracker in self.trackers() {
                let asked: Vec<InfoHash> = left
                    .iter()
                    .filter(|payload| payload.tracker == tracker)
                    .map(|payload| payload.info_hash)
                    .collect();
                if asked.is_empty() {
                    continue;
                }
                let reply = self.ours.scrape(&self.url(tracker), &asked).await;
                let files = reply.map(|reply| reply.files).map_err(|error| {
                    last.extend(asked.iter().map(|info_hash| (*info_hash, error.clone())));
                });
                for (info_hash, entry) in files.unwrap_or_default() {
                    last.insert(info_hash, format!("{entry:?}"));
                    left.retain(|payload| {
                        let fits = payload.info_hash == info_hash && fits(payload, entry);
                        if fits {
                            done.push((payload.name.clone(), start.elapsed()));
                        }
                        !fits
                    });
                }
            }
            tokio::time::sleep(ASK).await;
        }
        let words = left.iter().map(|payload| {
            format!("{payload}: {}", last.get(&payload.info_hash).map_or("never asked", |is| is))
        });
        (done, words.collect())
    }
}
