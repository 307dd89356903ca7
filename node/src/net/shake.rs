//! From a socket to a connection: dialling, listening, and the two handshakes (BEP 3), each within
//! its time. Never here: which torrents there are.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use shoal_core::{
    ids::{ConnId, PeerId},
    session::{Event, fault::CloseCause},
    wire::{
        Handshake, Incompatible, Misbehaved, PeerFault, Terms,
        handshake::{FIRST_BYTE, HANDSHAKE_LEN},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::OwnedSemaphorePermit,
    time::timeout,
};

use super::{
    Shared,
    conn::{Command, Commands, Connection},
    event::{NetEvent, Outbox},
    rate_limit::{Direction, Pace},
    swarm::Swarm,
};

/// What the system may keep of connections that were not taken yet.
const BACKLOG: u32 = 1024;
/// The pause after the system refused to accept: out of files, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Binds the listening socket.
///
/// # Errors
/// What the system says, with the address.
pub(super) fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let bind = || {
        let socket = socket_for(addr)?;
        socket.set_reuseaddr(true)?;
        socket.bind(addr)?;
        socket.listen(BACKLOG)
    };
    bind().map_err(|error| io::Error::new(error.kind(), format!("listen on {addr}: {error}")))
}

/// Takes connections for ever, as many as may shake hands at once; others are closed.
pub(super) async fn accept_all(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        let (stream, addr) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(permit) = shared.may_shake() else { continue };
        let task = answer(Arc::clone(&shared), stream, addr, permit);
        shared.spawn(task);
    }
}

/// One incoming connection, from its first byte to its end.
async fn answer(
    shared: Arc<Shared>,
    mut stream: TcpStream,
    addr: SocketAddr,
    permit: OwnedSemaphorePermit,
) {
    let within = shared.limits.handshake_timeout;
    let theirs = timeout(within, read_handshake(&mut stream)).await;
    let theirs = match theirs.unwrap_or(Err(Refused::Fault(Misbehaved::HandshakeTimeout.into()))) {
        Ok(theirs) => theirs,
        Err(cause) => {
            tracing::debug!(%cause, "handshake refused");
            return;
        }
    };
    let ours = Handshake::new(theirs.info_hash, shared.peer_id);
    let terms = Terms::agreed(&ours, &theirs);
    let (conn, mut commands) = shared.enter_incoming();
    let event = Event::Incoming {
        conn,
        // Over a socket of both families IPv4 peers come in IPv6 dress.
        addr: SocketAddr::new(addr.ip().to_canonical(), addr.port()),
        info_hash: theirs.info_hash,
        peer_id: theirs.peer_id,
        terms,
    };
    if shared.inbox.send(NetEvent::Core(event)).await.is_err() {
        return;
    }
    let verdict = timeout(within, accepted(&mut commands)).await;
    drop(permit);
    match verdict.unwrap_or(Err(CloseCause::Fault(Misbehaved::HandshakeTimeout.into()))) {
        Ok(swarm) => {
            let opening = Opening::Answer(ours);
            converse(shared, (conn, terms), (stream, commands), swarm, opening).await;
        }
        Err(cause) => {
            if cause == CloseCause::Own {
                // Only our own answer tells our dial whom it reached.
                let _ = timeout(within, stream.write_all(&ours.encode())).await;
            }
            drop(stream);
            shared.leave(conn, cause, Outbox::new(conn, std::time::Instant::now()), commands).await;
        }
    }
}

/// The session's word on an incoming connection.
async fn accepted(commands: &mut Commands) -> Result<Arc<Swarm>, CloseCause> {
    loop {
        match commands.recv().await {
            Some(Command::Accept(swarm)) => return Ok(swarm),
            Some(Command::Close(cause)) => return Err(cause),
            // Nothing is sent to a connection that was not accepted.
            Some(
                Command::Send(_) | Command::Serve(..) | Command::Grant(..) | Command::Revoke(_),
            ) => {}
            None => return Err(CloseCause::Shutdown),
        }
    }
}

/// One outgoing connection, from its dial to its end.
pub(super) async fn dial(
    shared: Arc<Shared>,
    conn: ConnId,
    mut commands: Commands,
    swarm: Arc<Swarm>,
    addr: SocketAddr,
) {
    let within = shared.limits.handshake_timeout;
    let dialled = tokio::select! {
        dialled = timeout(within, connect(&shared, &swarm, addr)) => {
            dialled.unwrap_or(Err(Refused::Late))
        }
        cause = closed(&mut commands) => Err(Refused::Closed(cause)),
    };
    let (stream, peer_id, terms) = match dialled {
        Ok(dialled) => dialled,
        Err(cause) => {
            let cause = format!("{addr}: {cause}");
            shared.remove(conn);
            let event = NetEvent::Core(Event::DialFailed { conn, cause });
            // Without a session nobody wants to know.
            let _ = shared.inbox.send(event).await;
            return;
        }
    };
    let event = Event::Dialled { conn, peer_id, terms };
    if shared.inbox.send(NetEvent::Core(event)).await.is_err() {
        return;
    }
    converse(shared, (conn, terms), (stream, commands), swarm, Opening::Done).await;
}

/// Whether our handshake is still to be sent.
enum Opening {
    Answer(Handshake),
    Done,
}

async fn converse(
    shared: Arc<Shared>,
    (conn, terms): (ConnId, Terms),
    (stream, commands): (TcpStream, Commands),
    swarm: Arc<Swarm>,
    opening: Opening,
) {
    let hello = match opening {
        Opening::Answer(ours) => ours.encode().to_vec(),
        Opening::Done => Vec::new(),
    };
    // Requests and control messages must not wait for more; where it fails they merely do.
    let _ = stream.set_nodelay(true);
    let (limits, inbox) = (shared.limits.clone(), shared.inbox.clone());
    let meter = shared.meter.clone();
    let paces = [Direction::Upload, Direction::Download]
        .map(|direction| Pace::new(conn, direction, &swarm.limits, &shared.rates, shared.clock));
    let connection = Connection::new(
        (conn, terms),
        (stream, commands),
        swarm,
        (limits, paces, meter),
        inbox,
        &hello,
    );
    let (cause, outbox, commands) = Box::pin(connection.run()).await;
    shared.leave(conn, cause, outbox, commands).await;
}

async fn connect(
    shared: &Shared,
    swarm: &Swarm,
    addr: SocketAddr,
) -> Result<(TcpStream, PeerId, Terms), Refused> {
    let socket = socket_for(addr)?;
    if let Some(from) = source_addr(shared.local_addr.ip(), addr) {
        // The port is chosen when it is known to whom: else each dial looks through the ports of all
        // connections that ended within the last minute. Where the system has no such wish, it does.
        let _ = setsockopt(&socket, IpBindAddressNoPort, &true);
        socket.bind(SocketAddr::new(from, 0))?;
    }
    let mut stream = socket.connect(addr).await?;
    let ours = Handshake::new(swarm.info_hash, shared.peer_id);
    stream.write_all(&ours.encode()).await?;
    let theirs = read_handshake(&mut stream).await?;
    if theirs.info_hash != swarm.info_hash {
        return Err(PeerFault::from(Incompatible::OtherInfoHash).into());
    }
    // Whether it is ourselves the session sees, and remembers the address.
    Ok((stream, theirs.peer_id, Terms::agreed(&ours, &theirs)))
}

/// Where a dial comes from: a node that listens on one address is known by that address.
fn source_addr(listen: IpAddr, to: SocketAddr) -> Option<IpAddr> {
    (!listen.is_unspecified() && listen.is_ipv4() == to.is_ipv4()).then_some(listen)
}

/// Reads exactly a handshake; the first byte is judged before any other is waited for.
async fn read_handshake(stream: &mut TcpStream) -> Result<Handshake, Refused> {
    let mut bytes = [0; HANDSHAKE_LEN];
    let mut got = 0;
    while got < HANDSHAKE_LEN {
        match stream.read(&mut bytes[got..]).await? {
            0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            more => got += more,
        }
        if bytes[0] != FIRST_BYTE {
            Handshake::check_first_byte(bytes[0])?;
        }
    }
    Ok(Handshake::decode(&bytes)?)
}

async fn closed(commands: &mut Commands) -> CloseCause {
    loop {
        match commands.recv().await {
            Some(Command::Close(cause)) => return cause,
            // Nothing else is sent to a connection that is not there yet.
            Some(
                Command::Accept(_)
                | Command::Send(_)
                | Command::Serve(..)
                | Command::Grant(..)
                | Command::Revoke(_),
            ) => {}
            None => return CloseCause::Shutdown,
        }
    }
}

fn socket_for(addr: SocketAddr) -> io::Result<TcpSocket> {
    if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Fault(#[from] PeerFault),
    #[error("{0}")]
    Closed(CloseCause),
    #[error("no handshake in time")]
    Late,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_on_one_address_dials_from_it() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let to = "10.0.0.2:7000".parse().unwrap();
        assert_eq!(source_addr(ip("10.0.0.1"), to), Some(ip("10.0.0.1")));
        assert_eq!(source_addr(ip("0.0.0.0"), to), None);
        assert_eq!(source_addr(ip("fe80::1"), to), None);
    }
}
