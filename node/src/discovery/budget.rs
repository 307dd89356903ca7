//! How many datagrams are read, and of whom: anybody on the network can send them without end.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

/// The most datagrams read in a second.
pub(super) const ALL_MAX: u32 = 256;
/// The most datagrams of one host read in a second: twice what we send.
pub(super) const HOST_MAX: u32 = 40;
/// The time that both are counted in.
const SPAN: Duration = Duration::from_secs(1);

/// What was read in the second under way.
#[derive(Debug, Default)]
pub(super) struct Budget {
    began: Option<Instant>,
    all: u32,
    hosts: BTreeMap<IpAddr, u32>,
}

impl Budget {
    /// Whether a datagram of this host may be read.
    pub(super) fn take(&mut self, host: IpAddr) -> bool {
        self.take_at(host, Instant::now())
    }

    fn take_at(&mut self, host: IpAddr, now: Instant) -> bool {
        if self.began.is_none_or(|began| now.duration_since(began) >= SPAN) {
            *self = Self { began: Some(now), ..Self::default() };
        }
        if self.all >= ALL_MAX {
            return false;
        }
        let of_host = self.hosts.entry(host).or_default();
        if *of_host >= HOST_MAX {
            return false;
        }
        *of_host += 1;
        self.all += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_floods_leaves_room_for_others_and_all_together_are_bounded() {
        let mut budget = Budget::default();
        let now = Instant::now();
        let host = |n: u32| IpAddr::from(n.to_be_bytes());
        let mut read = |n: u32, now| (0..1000).filter(|_| budget.take_at(host(n), now)).count();
        assert_eq!(read(1, now), HOST_MAX as usize);
        assert_eq!(read(2, now), HOST_MAX as usize);
        let others: usize = (3..1000).map(|n| read(n, now)).sum();
        assert_eq!(others, (ALL_MAX - 2 * HOST_MAX) as usize);
        assert_eq!(read(1, now + SPAN), HOST_MAX as usize);
    }
}
