//! Where the two sides of a transfer are: both on loopback, or each in a network namespace of its
//! own, joined by a pair of virtual Ethernet interfaces. Never here: which programs are there.

use std::{
    ffi::OsString,
    fs,
    net::Ipv4Addr,
    path::Path,
    process::{self, Command},
};

use anyhow::{Context as _, ensure};

/// One side of a transfer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    /// The seeder and the tracker.
    Sender,
    /// The leechers.
    Receiver,
}

/// Where both sides are.
#[derive(Debug)]
pub(crate) enum Site {
    /// On 127.0.0.1.
    Loopback,
    /// Each on a host of its own.
    Hosts(Hosts),
}

/// Two network namespaces that reach each other. Dropping them removes them.
#[derive(Debug)]
pub(crate) struct Hosts {
    prefix: String,
}

/// Where the kernel's names of network namespaces are kept.
const NAMES: &str = "/run/netns";
/// What our namespaces are called, before the id of the process that made them.
pub(crate) const PREFIX: &str = "shoal-bench-";
/// The addresses of the sides: of the range for benchmarks (RFC 2544).
const SENDER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const RECEIVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);

impl Site {
    /// The address of a side.
    pub(crate) fn ip(&self, side: Side) -> Ipv4Addr {
        match (self, side) {
            (Self::Loopback, _) => Ipv4Addr::LOCALHOST,
            (Self::Hosts(_), Side::Sender) => SENDER,
            (Self::Hosts(_), Side::Receiver) => RECEIVER,
        }
    }

    /// What to start so that `argv` runs on a side.
    pub(crate) fn enter(&self, side: Side, argv: Vec<OsString>) -> Vec<OsString> {
        match self {
            Self::Loopback => argv,
            Self::Hosts(hosts) => {
                let enter = ["ip", "netns", "exec", &hosts.name(side)].map(OsString::from);
                enter.into_iter().chain(argv).collect()
            }
        }
    }
}

impl Hosts {
    /// Makes them, and removes those of processes that are gone.
    ///
    /// # Errors
    /// `ip` (iproute2) cannot be run, or may not: it takes root.
    pub(crate) fn make() -> anyhow::Result<Self> {
        sweep();
        // Made first, so that what follows is removed where it fails midway.
        let hosts = Self { prefix: format!("{PREFIX}{}", process::id()) };
        let [sender, receiver] = [Side::Sender, Side::Receiver].map(|side| hosts.name(side));
        for name in [&sender, &receiver] {
            ip(&["netns", "add", name])?;
            ip(&["-n", name, "link", "set", "lo", "up"])?;
        }
        let peer = ["type", "veth", "peer", "name", "eth0", "netns", &receiver];
        ip(&[&["link", "add", "eth0", "netns", &sender][..], &peer].concat())?;
        for (name, addr) in [(&sender, SENDER), (&receiver, RECEIVER)] {
            ip(&["-n", name, "addr", "add", &format!("{addr}/24"), "dev", "eth0"])?;
            ip(&["-n", name, "link", "set", "eth0", "up"])?;
        }
        Ok(hosts)
    }

    fn name(&self, side: Side) -> String {
        let side = match side {
            Side::Sender => "sender",
            Side::Receiver => "receiver",
        };
        format!("{}-{side}", self.prefix)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for side in [Side::Sender, Side::Receiver] {
            // Where it was never made there is nothing to remove.
            let _ = ip(&["netns", "del", &self.name(side)]);
        }
    }
}

/// Removes namespaces that a killed process left behind.
pub(crate) fn sweep() {
    for entry in fs::read_dir(NAMES).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        if maker(&name).is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = ip(&["netns", "del", &name]);
        }
    }
}

/// The id of the process that made the namespace of this name, if it is one of ours.
fn maker(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split_once('-')?.0.parse().ok()
}

/// Runs `ip`.
///
/// # Errors
/// As [`run`].
pub(crate) fn ip(args: &[&str]) -> anyhow::Result<()> {
    run("ip", args).map(drop)
}

/// Runs a program of iproute2: what it wrote.
///
/// # Errors
/// It is not there, or refuses: it takes root.
pub(crate) fn run(program: &str, args: &[&str]) -> anyhow::Result<Vec<u8>> {
    let output = Command::new(program).args(args).output();
    let output = output.with_context(|| format!("running {program}: namespaces need iproute2"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{program} {}: {}; network namespaces need root",
        args.join(" "),
        error.trim_end()
    );
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_namespaces_of_ours_are_swept() {
        let hosts = Hosts { prefix: format!("{PREFIX}7") };
        assert_eq!(hosts.name(Side::Receiver), "shoal-bench-7-receiver");
        assert_eq!(maker(&hosts.name(Side::Sender)), Some(7));
        for name in ["shoal-bench-", "shoal-bench-x-sender", "h1", "shoal-7-sender"] {
            assert_eq!(maker(name), None, "{name}");
        }
        // There is nothing of that name to remove.
        drop(hosts);
    }

    #[test]
    fn a_program_is_started_on_its_side() {
        let argv = || vec![OsString::from("true")];
        assert_eq!(Site::Loopback.enter(Side::Sender, argv()), ["true"]);
        let site = Site::Hosts(Hosts { prefix: format!("{PREFIX}8") });
        let entered = site.enter(Side::Receiver, argv());
        assert_eq!(entered, ["ip", "netns", "exec", "shoal-bench-8-receiver", "true"]);
        assert_eq!(site.ip(Side::Receiver).to_string(), "198.18.0.2");
    }
}
