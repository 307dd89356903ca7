//! Connection ids: proofs that a client receives at its address. Nothing is kept of them. Never here:
//! packets.

use std::{io, net::IpAddr};

use rustix::rand::{GetRandomFlags, getrandom};
use shoal_core::tracker::udp::CONNECTION_VALID_S;
use siphasher::sip::SipHasher24;

/// Makes connection ids and knows them again: when an id was given, and a hash of that, the client's address and a secret (SipHash-2-4, made for
/// this). Nobody else can make one.
pub(super) struct Proofs {
    hasher: SipHasher24,
}

/// The bits of a connection id that tell when it was given: 18 hours until they are the same again.
const STAMP: u64 = 0xffff;

impl Proofs {
    /// Proofs of a secret of their own.
    pub(super) fn new() -> io::Result<Self> {
        let mut secret = [0; 16];
        let len = secret.len();
        let filled = getrandom(&mut secret[..], GetRandomFlags::empty())?;
        if filled != len {
            return Err(io::Error::other("the system has too little randomness"));
        }
        Ok(Self { hasher: SipHasher24::new_with_key(&secret) })
    }

    /// The id of a client at this address, in this second since an origin of the caller's.
    pub(super) fn make(&self, ip: IpAddr, second: u64) -> u64 {
        // 48 bits of the hash, and the low 16 of the second. All of it has one length, so that
        // nothing can be appended.
        let mut message = [0; 24];
        let ip = match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        message[..8].copy_from_slice(&second.to_be_bytes());
        message[8..].copy_from_slice(&ip.octets());
        self.hasher.hash(&message) & !STAMP | second & STAMP
    }

    /// Whether an id was given to this address, at most [`CONNECTION_VALID_S`] ago.
    pub(super) fn hold(&self, id: u64, ip: IpAddr, second: u64) -> bool {
        let age = second.wrapping_sub(id) & STAMP;
        let given = second.checked_sub(age).filter(|_| age <= CONNECTION_VALID_S);
        given.is_some_and(|given| self.make(ip, given) == id)
    }
}
