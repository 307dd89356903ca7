//! A peer that says exactly what a script has it say, over one connection that it dials. Never here:
//! what a node must do about it.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use shoal_core::{
    ids::{InfoHash, PeerId, PieceIndex},
    wire::{
        BlockRange, Handshake, Message, MessageKind,
        handshake::HANDSHAKE_LEN,
        message::{self, PIECE_HEAD_LEN, PIECE_ID},
    },
};

use crate::fake::Content;

/// How long a node may take for anything that a script waits for.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a peer offers in its handshake beside BEP 3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Speaks {
    /// Nothing.
    Plain,
    /// The fast extension (BEP 6).
    Fast,
    /// The extension protocol (BEP 10).
    Extended,
}

/// What a node says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    Message(Message),
    Piece(BlockRange, Vec<u8>),
}

/// A connection to a node.
pub struct Wire {
    stream: TcpStream,
}

impl Wire {
    /// A connection on which nothing was said yet.
    pub fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    /// The handshake of peer `n`, and the node's; `None` where it closes instead.
    pub fn shake(&mut self, info_hash: InfoHash, n: u8, speaks: Speaks) -> Option<Handshake> {
        let mut ours = Handshake::new(info_hash, Self::id(n));
        let all = ours.reserved;
        ours.reserved = match speaks {
            Speaks::Plain => [0; 8],
            Speaks::Fast => [0, 0, 0, 0, 0, 0, 0, all[7]],
            Speaks::Extended => [0, 0, 0, 0, 0, all[5], 0, 0],
        };
        self.bytes(&ours.encode());
        let mut theirs = [0; HANDSHAKE_LEN];
        self.stream.read_exact(&mut theirs).ok()?;
        Some(Handshake::decode(&theirs).unwrap())
    }

    /// The id of peer `n`.
    pub fn id(n: u8) -> PeerId {
        let mut id = *b"-RU0001-000000000000";
        id[19] = n;
        PeerId(id)
    }

    /// Sends bytes; a node that closed already does not hear them.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Sends a message, whether it may be sent or not.
    pub fn say(&mut self, message: &Message) {
        let mut bytes = Vec::new();
        message::encode(message, &mut bytes);
        self.bytes(&bytes);
    }

    /// Sends a message by its id and body, whatever they are.
    pub fn raw(&mut self, id: u8, body: &[u8]) {
        let len = body.len() as u32 + 1;
        self.bytes(&[&len.to_be_bytes()[..], &[id], body].concat());
    }

    /// Sends a block.
    pub fn piece(&mut self, piece: u32, offset: u32, block: &[u8]) {
        let mut head = [0; PIECE_HEAD_LEN];
        message::encode_piece_head(PieceIndex(piece), offset, block.len() as u32, &mut head);
        self.bytes(&[&head[..], block].concat());
    }

    /// Sends a block as it is.
    pub fn block(&mut self, range: BlockRange, content: &Content) {
        self.piece(range.piece.0, range.offset, content.block(range));
    }

    /// Closes.
    pub fn leave(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// The next that the node says; `None` once it closed.
    pub fn hear(&mut self) -> Option<Heard> {
        match self.read() {
            Ok(heard) => Some(heard),
            Err(error) => {
                assert!(
                    !Self::is_late(&error),
                    "the node neither spoke nor closed for {PATIENCE:?}"
                );
                None
            }
        }
    }

    /// The first that fits of what the node says; `None` once it closed.
    pub fn until<T>(&mut self, mut fits: impl FnMut(Heard) -> Option<T>) -> Option<T> {
        loop {
            if let Some(found) = fits(self.hear()?) {
                return Some(found);
            }
        }
    }

    /// Every byte until the node closes.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Err(error) if Self::is_late(&error) => panic!("not closed for {PATIENCE:?}"),
            // A reset is an end, too.
            Ok(_) | Err(_) => rest,
        }
    }

    /// The next request of the node; `None` once it closed.
    pub fn request(&mut self) -> Option<BlockRange> {
        self.until(|heard| match heard {
            Heard::Message(Message::Request(range)) => Some(range),
            Heard::Message(_) | Heard::Piece(..) => None,
        })
    }

    fn is_late(error: &io::Error) -> bool {
        matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
    }

    fn read(&mut self) -> io::Result<Heard> {
        loop {
            let mut len = [0; 4];
            self.stream.read_exact(&mut len)?;
            let mut body = vec![0; u32::from_be_bytes(len) as usize];
            self.stream.read_exact(&mut body)?;
            let Some((&id, body)) = body.split_first() else { continue };
            if id == PIECE_ID {
                let (head, block) = body.split_at(8);
                let word = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().unwrap());
                let len = block.len() as u32;
                let range = BlockRange { piece: PieceIndex(word(0)), offset: word(4), len };
                return Ok(Heard::Piece(range, block.to_vec()));
            }
            let kind = MessageKind::from_id(id).unwrap();
            return Ok(Heard::Message(message::decode_body(kind, body).unwrap()));
        }
    }
}
