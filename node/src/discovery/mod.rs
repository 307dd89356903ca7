//! Local discovery (BEP 14): announces on the local network, and hears who else announces there.
//! Groups, interfaces, datagrams, rates. Never here: which torrents, when, or what is believed.

mod budget;
mod interfaces;
mod socket;
#[cfg(test)]
mod tests;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use budget::Budget;
use shoal_core::{
    config::{LOCAL_HASHES_MAX, LOCAL_LEN_MAX},
    ids::InfoHash,
    wire::LocalAnnounce,
};
use socket::Link;
use tokio::{sync::mpsc, task::JoinSet};

/// Orders that may wait for their turn; more are dropped, and the session orders again in minutes.
const ORDERS_MAX: usize = 16;
/// The pause between two datagrams of one order, so that nobody's budget for us runs out.
const PAUSE: Duration = Duration::from_millis(50);
/// The pause after the system refused to receive.
const BROKEN_PAUSE: Duration = Duration::from_secs(1);

/// Where a node announces and listens. `Default` is the truth, but for `listen`.
#[derive(Clone, Copy, Debug)]
pub struct DiscoveryConfig {
    /// Where the node listens for peers: a specific address is that of the one interface used; an
    /// unspecified one means all interfaces of its family (both families for IPv6).
    pub listen: IpAddr,
    /// The group of IPv4 (default 239.192.152.143:6771, BEP 14).
    pub group_v4: SocketAddr,
    /// The group of IPv6 (default [ff15::efc0:988f]:6771, BEP 14).
    pub group_v6: SocketAddr,
}

/// Somebody on the local network announced torrents.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heard {
    /// Where it listens for peers, as it says, at the address that its datagram came from.
    pub addr: SocketAddr,
    /// Its torrents.
    pub info_hashes: Vec<InfoHash>,
}

/// Local discovery at work. Ends when it is dropped.
#[derive(Debug)]
pub struct Discovery {
    orders: mpsc::Sender<Order>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Order {
    info_hashes: Vec<InfoHash>,
    port: u16,
}

impl Default for DiscoveryConfig {
    fn default() -> Self {
        Self {
            listen: Ipv4Addr::UNSPECIFIED.into(),
            group_v4: (Ipv4Addr::new(239, 192, 152, 143), 6771).into(),
            group_v6: (Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0xefc0, 0x988f), 6771).into(),
        }
    }
}

impl DiscoveryConfig {
    /// The groups that peers of ours may be in.
    fn groups(&self) -> Vec<SocketAddr> {
        match self.listen {
            IpAddr::V4(_) => vec![self.group_v4],
            IpAddr::V6(ip) if ip.is_unspecified() => vec![self.group_v4, self.group_v6],
            IpAddr::V6(_) => vec![self.group_v6],
        }
    }
}

impl Discovery {
    /// Joins the groups and begins to listen, on the runtime this is called in. What is heard goes
    /// to `heard`; what does not fit is dropped. One family of two may be missing.
    ///
    /// # Errors
    /// Where no group can be joined: what failed, and why.
    pub fn start(config: &DiscoveryConfig, heard: &mpsc::Sender<Heard>) -> io::Result<Self> {
        let mut links = Vec::new();
        let mut failure = None;
        for group in config.groups() {
            match Link::open(config.listen, group) {
                Ok(link) => links.push(Arc::new(link)),
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) if links.is_empty() => return Err(error),
            Some(error) => tracing::debug!(%error, "local discovery in one family only"),
            None => {}
        }
        // Our own datagrams come back to us; by this we know them.
        let cookie = format!("{:016x}", fastrand::u64(..));
        let (orders, waiting) = mpsc::channel(ORDERS_MAX);
        let mut tasks = JoinSet::new();
        for link in &links {
            tasks.spawn(listen(link.clone(), cookie.clone(), heard.clone()));
        }
        tasks.spawn(obey(links, cookie, waiting));
        Ok(Self { orders, _tasks: tasks })
    }

    /// Announces torrents; `port` is where we accept connections. Never waits.
    pub fn announce(&self, info_hashes: Vec<InfoHash>, port: u16) {
        if self.orders.try_send(Order { info_hashes, port }).is_err() {
            tracing::debug!("a local announce was dropped: others still wait");
        }
    }
}

/// Sends what is ordered, one datagram after the other.
async fn obey(links: Vec<Arc<Link>>, cookie: String, mut orders: mpsc::Receiver<Order>) {
    while let Some(Order { info_hashes, port }) = orders.recv().await {
        for some in info_hashes.chunks(LOCAL_HASHES_MAX) {
            let info_hashes = some.to_vec();
            let announce = LocalAnnounce { port, info_hashes, cookie: cookie.clone() };
            for link in &links {
                link.send(&announce.encode(link.group())).await;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Tells whom it hears, for ever.
async fn listen(link: Arc<Link>, own: String, heard: mpsc::Sender<Heard>) {
    let mut budget = Budget::default();
    // A byte more than a datagram may have, so that a longer one is seen to be.
    let mut buffer = [0; LOCAL_LEN_MAX + 1];
    loop {
        let (len, from) = match link.receive(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!(%error, "local discovery: cannot receive");
                tokio::time::sleep(BROKEN_PAUSE).await;
                continue;
            }
        };
        if !budget.take(from.ip()) {
            continue;
        }
        match LocalAnnounce::decode(&buffer[..len]) {
            Ok(announce) if announce.cookie == own => {}
            Ok(LocalAnnounce { port, info_hashes, .. }) => {
                let mut addr = from;
                addr.set_port(port);
                if heard.try_send(Heard { addr, info_hashes }).is_err() {
                    tracing::debug!(%addr, "a local announce was dropped: the node is busy");
                }
            }
            Err(error) => tracing::debug!(%from, %error, "a local announce was not understood"),
        }
    }
}
