//! The two sockets of one group: one hears what is sent to it, one sends. Never here: what is said.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Mutex, PoisonError},
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::UdpSocket;

use super::interfaces::{self, Interface};

/// One group, joined on some interfaces.
#[derive(Debug)]
pub(super) struct Link {
    listen: IpAddr,
    group: SocketAddr,
    hears: UdpSocket,
    sends: UdpSocket,
    /// Where the group is joined.
    joined: Mutex<BTreeSet<Interface>>,
}

impl Link {
    /// Opens the sockets and joins the group. Where that cannot be done yet, for the network is not
    /// up, it is tried again with every announce.
    ///
    /// # Errors
    /// What failed, and why.
    pub(super) fn open(listen: IpAddr, group: SocketAddr) -> io::Result<Self> {
        let failed = |what: &str| {
            let what = format!("{what} {group}");
            move |error: io::Error| io::Error::new(error.kind(), format!("{what}: {error}"))
        };
        let hears = hearing(group).map_err(failed("listen on"))?;
        let sends = sending(listen, group).map_err(failed("send to"))?;
        let link = Self { listen, group, hears, sends, joined: Mutex::default() };
        match link.join() {
            Ok(joined) if joined.is_empty() => {
                tracing::warn!(%group, "local discovery: no interface that can do multicast yet");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%group, %error, "local discovery: cannot join yet"),
        }
        Ok(link)
    }

    pub(super) fn group(&self) -> SocketAddr {
        self.group
    }

    /// Waits for a datagram; it is cut where it is longer than `buffer`.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.hears.recv_from(buffer).await
    }

    /// Sends a datagram on every interface. Interfaces come and go: what cannot be sent is not.
    pub(super) async fn send(&self, datagram: &[u8]) {
        let interfaces = match self.join() {
            Ok(interfaces) => interfaces,
            Err(error) => {
                tracing::debug!(%error, "local discovery: no interfaces");
                return;
            }
        };
        for interface in interfaces {
            let chosen = match interface {
                Interface::V4(ip) => SockRef::from(&self.sends).set_multicast_if_v4(&ip),
                Interface::V6(index) => SockRef::from(&self.sends).set_multicast_if_v6(index),
            };
            let sent = match chosen {
                Ok(()) => self.sends.send_to(datagram, self.group).await.map(drop),
                Err(error) => Err(error),
            };
            if let Err(error) = sent {
                tracing::debug!(?interface, %error, "local discovery: cannot send");
            }
        }
    }

    /// Joins the group where it is not joined yet; the interfaces where it is.
    fn join(&self) -> io::Result<BTreeSet<Interface>> {
        let there = interfaces::of(self.listen, self.group.is_ipv4())?;
        let mut joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        joined.retain(|interface| there.contains(interface));
        let socket = SockRef::from(&self.hears);
        let mut failure = None;
        for interface in there {
            if joined.contains(&interface) {
                continue;
            }
            let done = match (self.group.ip(), interface) {
                (IpAddr::V4(group), Interface::V4(ip)) => socket.join_multicast_v4(&group, &ip),
                (IpAddr::V6(group), Interface::V6(at)) => socket.join_multicast_v6(&group, at),
                (IpAddr::V4(_), Interface::V6(_)) | (IpAddr::V6(_), Interface::V4(_)) => continue,
            };
            match done {
                // It went and came again while the group stayed joined.
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => failure = Some(error),
                Ok(()) | Err(_) => drop(joined.insert(interface)),
            }
        }
        match failure {
            Some(error) if joined.is_empty() => Err(error),
            Some(_) | None => Ok(joined.clone()),
        }
    }
}

/// Bound to the group itself, so that what is sent to this host alone never comes here: whoever
/// sends to the group is on the local network. Shared with other clients of this host.
fn hearing(group: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket_for(group)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if group.is_ipv4() {
        // Only from the interfaces where we joined, not where others of this host did.
        socket.set_multicast_all_v4(false)?;
    } else {
        socket.set_only_v6(true)?;
        socket.set_multicast_all_v6(false)?;
    }
    socket.bind(&group.into())?;
    UdpSocket::from_std(socket.into())
}

/// Sends from the address where the node listens, one hop far, and to this host too.
fn sending(listen: IpAddr, group: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket_for(group)?;
    let from = match (listen, group.is_ipv4()) {
        (IpAddr::V4(_), true) | (IpAddr::V6(_), false) => listen,
        (IpAddr::V6(_), true) => Ipv4Addr::UNSPECIFIED.into(),
        (IpAddr::V4(_), false) => Ipv6Addr::UNSPECIFIED.into(),
    };
    if group.is_ipv4() {
        socket.set_multicast_ttl_v4(1)?;
        socket.set_multicast_loop_v4(true)?;
    } else {
        socket.set_only_v6(true)?;
        socket.set_multicast_hops_v6(1)?;
        socket.set_multicast_loop_v6(true)?;
    }
    socket.bind(&SocketAddr::new(from, 0).into())?;
    UdpSocket::from_std(socket.into())
}

fn socket_for(group: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(group), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
