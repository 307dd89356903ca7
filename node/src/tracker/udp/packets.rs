//! A UDP socket that answers from the address it was asked at. Where it listens on all addresses of a
//! host, the system would choose one by the way back, and clients take no answer from another than
//! they asked. Never here: what is in a packet.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::SocketAddr,
    os::fd::AsRawFd as _,
};

use nix::{
    cmsg_space,
    libc::{in_pktinfo, in6_pktinfo},
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg,
        setsockopt,
        sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo},
    },
};
use tokio::{io::Interest, net::UdpSocket};

/// The socket.
pub(super) struct Packets(UdpSocket);

/// A packet that came, without its bytes.
pub(super) struct Received {
    /// Its length, bytes; at most the room that there was.
    pub(super) len: usize,
    /// Who sent it.
    pub(super) source: SocketAddr,
    at: At,
}

/// The address of ours that a packet was sent to.
enum At {
    V4(in_pktinfo),
    V6(in6_pktinfo),
    /// The system did not say.
    Unknown,
}

impl Packets {
    /// Takes a bound socket, which must not block. Has to be called in a runtime.
    pub(super) fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        match socket.local_addr()? {
            SocketAddr::V4(_) => setsockopt(&socket, Ipv4PacketInfo, &true)?,
            SocketAddr::V6(_) => setsockopt(&socket, Ipv6RecvPacketInfo, &true)?,
        }
        Ok(Self(UdpSocket::from_std(socket)?))
    }

    /// The next packet; what of it is longer than `room` is lost.
    pub(super) async fn receive(&self, room: &mut [u8]) -> io::Result<Received> {
        self.0.async_io(Interest::READABLE, || self.receive_now(room)).await
    }

    fn receive_now(&self, room: &mut [u8]) -> io::Result<Received> {
        let mut control = cmsg_space!(in6_pktinfo, in_pktinfo);
        let mut room = [IoSliceMut::new(room)];
        let (fd, flags) = (self.0.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        let message = recvmsg::<SockaddrStorage>(fd, &mut room, Some(&mut control), flags)?;
        let at = message.cmsgs()?.find_map(|control| {
            if let ControlMessageOwned::Ipv4PacketInfo(info) = control {
                return Some(At::V4(info));
            }
            let ControlMessageOwned::Ipv6PacketInfo(info) = control else { return None };
            Some(At::V6(info))
        });
        let source = message.address.as_ref().and_then(address);
        let source = source.ok_or_else(|| io::Error::other("a packet from nowhere"))?;
        Ok(Received { len: message.bytes, source, at: at.unwrap_or(At::Unknown) })
    }

    /// Answers a packet, now or never.
    pub(super) fn answer(&self, reply: &[u8], to: &Received) -> io::Result<()> {
        let (fd, flags, reply) =
            (self.0.as_raw_fd(), MsgFlags::MSG_DONTWAIT, [IoSlice::new(reply)]);
        let destination = SockaddrStorage::from(to.source);
        let send = |control: &[ControlMessage<'_>]| {
            sendmsg(fd, &reply, control, flags, Some(&destination))?;
            Ok(())
        };
        // Only the address is given: the way is the system's to choose.
        self.0.try_io(Interest::WRITABLE, || match to.at {
            At::V4(info) => {
                send(&[ControlMessage::Ipv4PacketInfo(&in_pktinfo { ipi_ifindex: 0, ..info })])
            }
            At::V6(info) => {
                send(&[ControlMessage::Ipv6PacketInfo(&in6_pktinfo { ipi6_ifindex: 0, ..info })])
            }
            At::Unknown => send(&[]),
        })
    }
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|addr| SocketAddr::from(*addr));
    v4.or_else(|| storage.as_sockaddr_in6().map(|addr| SocketAddr::from(*addr)))
}
