//! What a plan may say at most: it comes from a person, but a slip must not become a run of weeks
//! or a number that overflows.

use std::time::Duration;

use shoal_core::config::{KIB, PIECE_LEN_MAX, PIECES_MAX};

/// The longest plan, bytes.
pub const PLAN_LEN_MAX: usize = 256 * 1024;
/// The longest name of a plan or class, characters; of a zone too, which becomes a label
/// (`LABEL_LEN_MAX` of the core).
pub const NAME_LEN_MAX: usize = 64;
/// The longest description, and the longest name of a policy, characters.
pub const TEXT_LEN_MAX: usize = 256;
/// The most hosts of all classes together.
pub const HOSTS_MAX: u32 = 100_000;
/// The most classes, counted once for each zone that one is in.
pub const CLASSES_MAX: usize = 64;
/// The most zones.
pub const ZONES_MAX: usize = 64;
/// The most faults, counted once for each zone of the class that one befalls.
pub const FAULTS_MAX: usize = 256;
/// The largest content, bytes: as many pieces as a torrent may have, each as large as may be.
pub const CONTENT_BYTES_MAX: u64 = PIECES_MAX as u64 * PIECE_LEN_MAX as u64;
/// The lowest rate of anything, bytes a second: a block of 16 KiB in 16 s, below the 20 s of
/// silence after which the engine snubs a peer.
pub const RATE_BPS_MIN: u64 = KIB;
/// The highest rate, bytes a second: 1 TiB.
pub const RATE_BPS_MAX: u64 = KIB * KIB * KIB * KIB;
/// The longest run, virtual time.
pub const LIMIT_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// The shortest run.
pub const LIMIT_MIN: Duration = Duration::from_secs(1);
/// The longest way of a message, and the most that is added to it.
pub const LATENCY_MAX: Duration = Duration::from_secs(60);
/// The shortest interval of a tracker (replies count in seconds), and the shortest time of a
/// flapper's connection: anything shorter makes a run of nothing else.
pub const PERIOD_MIN: Duration = Duration::from_secs(1);
/// The shortest time that is not nothing.
pub const INSTANT: Duration = Duration::from_micros(1);
/// The most peers in a reply of the tracker.
pub const NUMWANT_MAX: u32 = 2000;
/// The most connections of a host (`connections_max` of the core's `Config`).
pub const CONNECTIONS_MAX: u32 = 1024;
/// The most of anything that is a multiple of something else.
pub const MULTIPLE_MAX: f64 = 1e6;

/// Hosts of a plan made small, where it has no more classes than that.
pub const SMALL_HOSTS: u32 = 40;
/// Pieces of a plan made small.
pub const SMALL_PIECES: u32 = 128;
