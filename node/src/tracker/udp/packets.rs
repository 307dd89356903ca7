//! UDP packets in batches: many received by one system call, their answers sent by another. Each is
//! answered from the address it was sent to: where the socket listens on all addresses of a host, the
//! system would choose one by the way back, and clients take no answer from another than they asked.
//! Never here: what is in a packet.

use std::{
    array,
    io::{self, IoSlice, IoSliceMut},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::fd::AsRawFd as _,
};

use nix::{
    cmsg_space,
    errno::Errno,
    libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo},
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrStorage,
        recvmmsg, sendmmsg, setsockopt,
        sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo},
    },
};
use shoal_core::tracker::udp::REQUEST_LEN_MAX;

/// The most packets of one system call: enough for its price to vanish beside that of the packets.
pub(super) const BATCH_MAX: usize = 64;
/// The place of a packet. One byte more than the longest request: one that is too long is seen to be.
const ROOM: usize = REQUEST_LEN_MAX + 1;

/// Packets that came together.
pub(super) struct Inbox {
    rooms: Box<[[u8; ROOM]]>,
    received: Vec<Received>,
    headers: MultiHeaders<SockaddrStorage>,
    /// The system says where packets were sent to.
    is_told: bool,
}

/// A packet that came, without its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received {
    /// Its length, bytes; at most the room that there was.
    len: usize,
    /// Who sent it.
    pub(super) source: SocketAddr,
    at: At,
}

/// Answers that go together, in order.
pub(super) struct Outbox {
    bytes: Vec<u8>,
    answers: Vec<Answer>,
    bare: MultiHeaders<SockaddrStorage>,
    v4: MultiHeaders<SockaddrStorage>,
    v6: MultiHeaders<SockaddrStorage>,
}

/// An answer: its bytes end here, and begin where those of the one before end.
#[derive(Clone, Copy)]
struct Answer {
    end: usize,
    to: Received,
}

/// The address of ours that a packet was sent to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    V4(Ipv4Addr),
    V6(Ipv6Addr),
    /// The only one there is, or the system did not say.
    Unknown,
}

/// Makes a socket tell where packets were sent to, if there is more than one place; says whether.
pub(super) fn prepare(socket: &UdpSocket) -> io::Result<bool> {
    let local = socket.local_addr()?;
    if !local.ip().is_unspecified() {
        return Ok(false);
    }
    match local {
        SocketAddr::V4(_) => setsockopt(socket, Ipv4PacketInfo, &true)?,
        SocketAddr::V6(_) => setsockopt(socket, Ipv6RecvPacketInfo, &true)?,
    }
    Ok(true)
}

impl Inbox {
    /// For a socket of which [`prepare`] said this.
    pub(super) fn new(is_told: bool) -> Self {
        Self {
            rooms: vec![[0; ROOM]; BATCH_MAX].into(),
            received: Vec::with_capacity(BATCH_MAX),
            headers: headers_to_receive(),
            is_told,
        }
    }

    /// Takes what is there, at most [`BATCH_MAX`] packets, in place of what was taken before; of a
    /// packet that is longer than its room, the rest is lost. Says how many came: where none is
    /// there, 0.
    ///
    /// # Errors
    /// The system's, as for any receive; a packet may be lost with it, the socket stays good.
    pub(super) fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.received.clear();
        let mut rooms = self.rooms.iter_mut();
        let mut slices: [_; BATCH_MAX] = array::from_fn(|_| {
            [IoSliceMut::new(rooms.next().map_or(&mut [][..], |room| &mut room[..]))]
        });
        let (fd, flags) = (socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        let messages = match recvmmsg(fd, &mut self.headers, slices.iter_mut(), flags, None) {
            Ok(messages) => messages,
            Err(Errno::EAGAIN) => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        let mut is_bare = false;
        for message in messages {
            let at = at(&message);
            is_bare |= at == At::Unknown;
            // A packet from nowhere is none; its place is kept, so that places and bytes agree.
            let source = message.address.as_ref().and_then(address);
            let (len, source) = source.map_or((0, NOWHERE), |source| (message.bytes, source));
            self.received.push(Received { len, source, at });
        }
        if is_bare && self.is_told {
            // The next packet has as much room for the address it was sent to as the last one used.
            self.headers = headers_to_receive();
        }
        Ok(self.received.len())
    }

    /// The packets that came, in order.
    pub(super) fn packets(&self) -> impl Iterator<Item = (&[u8], Received)> {
        self.rooms.iter().zip(&self.received).map(|(room, received)| {
            let len = received.len.min(ROOM);
            (&room[..len], *received)
        })
    }
}

impl Outbox {
    pub(super) fn new() -> Self {
        let headers = |control| MultiHeaders::preallocate(BATCH_MAX, control);
        Self {
            bytes: Vec::new(),
            answers: Vec::with_capacity(BATCH_MAX),
            bare: headers(None),
            v4: headers(Some(cmsg_space!(in_pktinfo))),
            v6: headers(Some(cmsg_space!(in6_pktinfo))),
        }
    }

    /// Adds what `write` appends as the answer to a packet; nothing where it appends nothing.
    pub(super) fn push(&mut self, to: Received, write: impl FnOnce(&mut Vec<u8>)) {
        let begin = self.bytes.len();
        write(&mut self.bytes);
        let end = self.bytes.len();
        if end > begin {
            self.answers.push(Answer { end, to });
        }
    }

    /// Sends the answers, now or never, and is empty then: where the system has no room an answer is
    /// lost, and the client asks again.
    pub(super) fn send(&mut self, socket: &UdpSocket) {
        let mut first = 0;
        while let Some(answer) = self.answers.get(first) {
            let source = answer.to.source;
            match self.send_run(socket, first) {
                Ok(sent) => first += sent.max(1),
                Err(Errno::EAGAIN) => {
                    tracing::trace!(lost = self.answers.len() - first, "no room for answers");
                    break;
                }
                Err(error) => {
                    tracing::trace!(%source, %error, "tracker cannot send a packet");
                    first += 1;
                }
            }
        }
        self.answers.clear();
        self.bytes.clear();
    }

    /// Sends answers from this one on that leave from the same address; says how many went.
    fn send_run(&mut self, socket: &UdpSocket, first: usize) -> nix::Result<usize> {
        let answers = &self.answers[first..];
        let at = answers.first().map_or(At::Unknown, |answer| answer.to.at);
        let count = answers.iter().take(BATCH_MAX).take_while(|answer| answer.to.at == at).count();
        let mut begin = first.checked_sub(1).map_or(0, |before| self.answers[before].end);
        let slices: [_; BATCH_MAX] = array::from_fn(|i| {
            let end = answers.get(i).map_or(begin, |answer| answer.end);
            let bytes = &self.bytes[begin..end];
            begin = end;
            [IoSlice::new(bytes)]
        });
        let to: [_; BATCH_MAX] = array::from_fn(|i| answers.get(i).map(|a| a.to.source.into()));
        let (slices, to) = (slices[..count].iter(), &to[..count]);
        let (fd, flags) = (socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        // Only the address is given: the way is the system's to choose.
        let sent = match at {
            At::V4(ip) => {
                let (ip, any) = (in_addr { s_addr: ip.to_bits().to_be() }, in_addr { s_addr: 0 });
                let info = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: ip, ipi_addr: any };
                let control = [ControlMessage::Ipv4PacketInfo(&info)];
                sendmmsg(fd, &mut self.v4, slices, to, control, flags)?.count()
            }
            At::V6(ip) => {
                let ip = in6_addr { s6_addr: ip.octets() };
                let info = in6_pktinfo { ipi6_ifindex: 0, ipi6_addr: ip };
                let control = [ControlMessage::Ipv6PacketInfo(&info)];
                sendmmsg(fd, &mut self.v6, slices, to, control, flags)?.count()
            }
            At::Unknown => sendmmsg(fd, &mut self.bare, slices, to, [], flags)?.count(),
        };
        Ok(sent)
    }
}

/// The source of a packet that has none.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

fn headers_to_receive() -> MultiHeaders<SockaddrStorage> {
    MultiHeaders::preallocate(BATCH_MAX, Some(cmsg_space!(in6_pktinfo, in_pktinfo)))
}

fn at(message: &RecvMsg<'_, '_, SockaddrStorage>) -> At {
    let Ok(mut controls) = message.cmsgs() else { return At::Unknown };
    let at = controls.find_map(|control| {
        if let ControlMessageOwned::Ipv4PacketInfo(info) = control {
            return Some(At::V4(Ipv4Addr::from_bits(u32::from_be(info.ipi_spec_dst.s_addr))));
        }
        let ControlMessageOwned::Ipv6PacketInfo(info) = control else { return None };
        Some(At::V6(info.ipi6_addr.s6_addr.into()))
    });
    at.unwrap_or(At::Unknown)
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|addr| SocketAddr::from(*addr));
    v4.or_else(|| storage.as_sockaddr_in6().map(|addr| SocketAddr::from(*addr)))
}
