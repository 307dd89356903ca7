//! A network in this kernel: each host in a namespace of its own, its link shaped in both
//! directions by token buckets, and one slow link between two zones. Never here: programs.
//!
//! A bucket counts what is on the wire, a plan what arrives of the content, so that a bucket gets
//! more than the plan says: [`wire_bps`].

use std::{ffi::OsString, net::Ipv4Addr, process, time::Duration};

use anyhow::Context as _;
use serde::Serialize;
use serde_json::Value;

use super::plan::{Plan, Zone};
use crate::{
    answer::number,
    site::{PREFIX, ip, run, sweep},
};

/// The hosts of a plan. Dropping it removes them.
#[derive(Debug)]
pub(crate) struct Network {
    prefix: String,
    /// The seeder and the leechers.
    hosts: usize,
    has_zones: bool,
    congestion: String,
}

/// A host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// The tracker's, on a link without limit.
    Tracker,
    /// One of the plan's, the seeder's first.
    Host(usize),
}

/// What passed the buckets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub(crate) struct Passed {
    /// Bytes that hosts sent, with all headers.
    pub(crate) sent_bytes: u64,
    /// Packets that found a queue full, on any link.
    pub(crate) dropped: u64,
}

/// The link between the zones, at the first one and at the other.
const ENDS: [&str; 2] = ["a-to-b", "b-to-a"];
/// The rate of a link that the plan leaves without limit: more than any kernel carries here.
const UNLIMITED_BPS: u64 = 1_000_000_000;
/// The most that the kernel hands to a bucket at once, bytes: a bucket must hold it, or cuts it up.
const SEGMENT_BYTES_MAX: u64 = 64 << 10;
/// What may wait for a bucket, as the time it takes to pass: the plans' `queue`. Behind ten times as
/// much TCP takes a quarter longer for the ladder, with round trips of up to 190 ms.
pub(super) const QUEUE: Duration = Duration::from_millis(25);
const QUEUES_PER_S: u64 = 40;
/// The least ticks of the kernel in a second; a bucket that holds two ticks of its rate reaches it.
const TICKS_PER_S: u64 = 250;
/// Bytes of a full frame: 1500 of IP, and 14 of Ethernet.
const FRAME_BYTES: u64 = 1514;
/// Of these, what a program sent: without 20 of IP, 20 of TCP, and 12 of its timestamps.
const FRAME_PAYLOAD_BYTES: u64 = 1448;
/// Bytes of a block, and of the message around it (BEP 3 `piece`).
const BLOCK_BYTES: u64 = 16_384;
const MESSAGE_BYTES: u64 = BLOCK_BYTES + 13;

/// Bytes a second on the wire by which so many of the content arrive, with all headers in between.
pub(crate) fn wire_bps(payload_bps: u64) -> u64 {
    let wide = u128::from(payload_bps) * u128::from(FRAME_BYTES * MESSAGE_BYTES);
    let wire_bps = wide.div_ceil(u128::from(FRAME_PAYLOAD_BYTES * BLOCK_BYTES));
    u64::try_from(wire_bps).unwrap_or(u64::MAX)
}

impl Network {
    /// Makes it, and removes those of processes that are gone. Senders react to it as the kernel's
    /// module `congestion` does.
    ///
    /// # Errors
    /// `ip` or `tc` (iproute2) cannot be run, or may not: they take root. There is no such module.
    pub(crate) fn make(plan: &Plan, congestion: &str) -> anyhow::Result<Self> {
        sweep();
        // Made first, so that what follows is removed where it fails midway.
        let network = Self {
            prefix: format!("{PREFIX}{}", process::id()),
            hosts: 1 + plan.leechers.len(),
            has_zones: plan.has_far,
            congestion: congestion.to_owned(),
        };
        let switch = network.switch();
        ip(&["netns", "add", &switch])?;
        for bridge in [bridge(Zone::A), bridge(Zone::B)] {
            ip(&["-n", &switch, "link", "add", "name", bridge, "type", "bridge"])?;
            ip(&["-n", &switch, "link", "set", bridge, "up"])?;
        }
        if plan.has_far {
            let ends = ["name", ENDS[0], "type", "veth", "peer", "name", ENDS[1]];
            ip(&[&["-n", &switch, "link", "add"][..], &ends].concat())?;
            for (end, zone) in ENDS.into_iter().zip([Zone::A, Zone::B]) {
                let bridge = bridge(zone);
                ip(&["-n", &switch, "link", "set", end, "master", bridge, "up"])?;
                shape(&switch, end, plan.between_bps.unwrap_or(UNLIMITED_BPS))?;
            }
        }
        network.join(Place::Tracker, Zone::A)?;
        for (index, host) in plan.hosts().enumerate() {
            let place = Place::Host(index);
            network.join(place, host.zone)?;
            shape(&network.name(place), "eth0", host.up_bps)?;
            shape(&switch, &port(place), host.down_bps)?;
        }
        Ok(network)
    }

    /// The address of a host: of the range for benchmarks (RFC 2544).
    pub(crate) fn ip(place: Place) -> Ipv4Addr {
        let last = match place {
            Place::Tracker => 1,
            Place::Host(index) => u8::try_from(10 + index).unwrap_or(u8::MAX),
        };
        Ipv4Addr::new(198, 18, 0, last)
    }

    /// What to start so that `argv` runs on a host.
    pub(crate) fn enter(&self, place: Place, argv: Vec<OsString>) -> Vec<OsString> {
        let enter = ["ip", "netns", "exec", &self.name(place)].map(OsString::from);
        enter.into_iter().chain(argv).collect()
    }

    /// What passed so far.
    ///
    /// # Errors
    /// `tc` fails, or is not understood.
    pub(crate) fn passed(&self) -> anyhow::Result<Passed> {
        let switch = self.switch();
        let mut passed = Passed::default();
        for place in (0..self.hosts).map(Place::Host) {
            let (up, down) = (bucket(&self.name(place), "eth0")?, bucket(&switch, &port(place))?);
            passed.sent_bytes += number(&up["bytes"])?;
            passed.dropped += number(&up["drops"])? + number(&down["drops"])?;
        }
        for end in ENDS.into_iter().filter(|_| self.has_zones) {
            passed.dropped += number(&bucket(&switch, end)?["drops"])?;
        }
        Ok(passed)
    }

    /// Makes a host and plugs it in.
    fn join(&self, place: Place, zone: Zone) -> anyhow::Result<()> {
        let (name, switch, port) = (self.name(place), self.switch(), port(place));
        ip(&["netns", "add", &name])?;
        ip(&["-n", &name, "link", "set", "lo", "up"])?;
        let peer = ["type", "veth", "peer", "name", &port, "netns", &switch];
        ip(&[&["link", "add", "eth0", "netns", &name][..], &peer].concat())?;
        let (addr, bridge) = (Self::ip(place), bridge(zone));
        ip(&["-n", &name, "addr", "add", &format!("{addr}/24"), "dev", "eth0"])?;
        ip(&["-n", &name, "link", "set", "eth0", "up"])?;
        ip(&["-n", &switch, "link", "set", &port, "master", bridge, "up"])?;
        let route = ["route", "replace", "198.18.0.0/24", "dev", "eth0", "src", &addr.to_string()];
        ip(&[&["-n", &name][..], &route, &["congctl", &self.congestion]].concat())
    }

    fn name(&self, place: Place) -> String {
        format!("{}-{}", self.prefix, port(place))
    }

    /// Where the bridges are.
    fn switch(&self) -> String {
        format!("{}-switch", self.prefix)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let places = (0..self.hosts).map(Place::Host).chain([Place::Tracker]);
        for name in places.map(|place| self.name(place)).chain([self.switch()]) {
            // Where it was never made there is nothing to remove.
            let _ = ip(&["netns", "del", &name]);
        }
    }
}

/// What the hosts of a zone are plugged into.
fn bridge(zone: Zone) -> &'static str {
    match zone {
        Zone::A => "zone-a",
        Zone::B => "zone-b",
    }
}

/// What a host is called, and the switch's end of its cable.
fn port(place: Place) -> String {
    match place {
        Place::Tracker => "tracker".to_owned(),
        Place::Host(index) => format!("host{index}"),
    }
}

/// Lets no more leave an interface than brings so many bytes of the content a second.
fn shape(namespace: &str, interface: &str, payload_bps: u64) -> anyhow::Result<()> {
    let [rate, burst, limit] = bucket_of(payload_bps);
    let rate = format!("{rate}bit");
    let (burst, limit) = (burst.to_string(), limit.to_string());
    let at = ["-n", namespace, "qdisc", "add", "dev", interface, "root"];
    let bucket = ["tbf", "rate", &rate, "burst", &burst, "limit", &limit];
    run("tc", &[&at[..], &bucket].concat()).map(drop)
}

/// Bits a second, bytes that it holds, bytes that wait for it.
fn bucket_of(payload_bps: u64) -> [u64; 3] {
    let wire_bps = wire_bps(payload_bps);
    let burst = (2 * wire_bps / TICKS_PER_S).max(2 * SEGMENT_BYTES_MAX);
    [wire_bps * 8, burst, (wire_bps / QUEUES_PER_S).max(2 * SEGMENT_BYTES_MAX)]
}

/// What `tc` says of the bucket of an interface.
fn bucket(namespace: &str, interface: &str) -> anyhow::Result<Value> {
    let said = run("tc", &["-n", namespace, "-s", "-j", "qdisc", "show", "dev", interface])?;
    let said: Value = serde_json::from_slice(&said).context("tc answered without JSON")?;
    Ok(said[0].clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_added_to_what_a_plan_says() {
        // 1514/1448 of TCP and below, 16 397/16 384 of the peer wire.
        assert_eq!(wire_bps(1_000_000), 1_046_410);
        assert_eq!(wire_bps(0), 0);
        assert_eq!(wire_bps(u64::MAX), u64::MAX);
    }

    #[test]
    fn a_bucket_holds_what_comes_at_once_and_its_queue_is_that_of_the_plans() {
        assert_eq!(bucket_of(500_000), [4_185_640, 131_072, 131_072]);
        assert_eq!(bucket_of(4_000_000), [33_485_112, 131_072, 131_072]);
        assert_eq!(bucket_of(40_000_000), [334_851_120, 334_851, 1_046_409]);
    }

    #[test]
    fn a_program_is_started_on_its_host() {
        let (prefix, congestion) = (format!("{PREFIX}9"), String::new());
        let network = Network { prefix, hosts: 0, has_zones: false, congestion };
        let entered = network.enter(Place::Host(2), vec!["true".into()]);
        assert_eq!(entered, ["ip", "netns", "exec", "shoal-bench-9-host2", "true"]);
        assert_eq!(Network::ip(Place::Host(2)).to_string(), "198.18.0.12");
    }
}
