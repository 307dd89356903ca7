//! One storm: its inputs, and what must hold of what becomes of them.

use shoal_core::fuzzing::Outcome;

use crate::weather::Weather;

/// Inputs of each storm that are random.
const RANDOM: usize = 100_000;
/// Inputs of each storm that were real before they were changed.
const MUTATED: usize = 10_000;
/// The longest reason, bytes: a path of 512 bytes, each of them escaped.
const REASON_LEN_MAX: usize = 4096;

pub(crate) struct Storm {
    pub(crate) name: &'static str,
    pub(crate) seed: u64,
    pub(crate) read: fn(&[u8]) -> Outcome,
    /// Real inputs.
    pub(crate) samples: Vec<Vec<u8>>,
    /// What inputs of this kind are made of.
    pub(crate) words: &'static [&'static [u8]],
    /// The most bytes held for a value: these, and as many for each byte of input.
    pub(crate) held: (usize, usize),
}

/// What became of the inputs of a storm.
#[derive(Default, Debug)]
struct Counts {
    accepted: usize,
    refused: usize,
}

/// Shows the input at hand where reading it panics.
struct AtHand<'a>(&'static str, usize, &'a [u8]);

impl Drop for AtHand<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}, input {}: {}", self.0, self.1, self.2.escape_ascii());
        }
    }
}

impl Storm {
    fn read(&self, index: usize, input: &[u8], counts: &mut Counts) {
        let at_hand = AtHand(self.name, index, input);
        match (self.read)(input) {
            Outcome::Holds(held) => {
                let most = self.held.0 + self.held.1 * input.len();
                assert!(held <= most, "{held} bytes held where {most} may be");
                counts.accepted += 1;
            }
            Outcome::Refused(reason) => {
                assert!((1..=REASON_LEN_MAX).contains(&reason.len()), "{reason:?}");
                counts.refused += 1;
            }
        }
        drop(at_hand);
    }

    /// Reads everything; says how much of what is random, and of what is mutated, was accepted.
    fn rage(&self) -> (Counts, Counts) {
        let mut weather = Weather::new(self.seed);
        let (mut random, mut mutated) = (Counts::default(), Counts::default());
        for index in 0..RANDOM {
            self.read(index, &weather.random(self.words), &mut random);
        }
        for index in 0..MUTATED {
            self.read(index, &weather.mutated(&self.samples, self.words), &mut mutated);
        }
        (random, mutated)
    }
}

/// Every sample is accepted as it is; of the changed ones some are and some are not.
#[track_caller]
pub(crate) fn check(storm: &Storm) {
    let mut whole = Counts::default();
    for (index, sample) in storm.samples.iter().enumerate() {
        storm.read(index, sample, &mut whole);
    }
    assert_eq!((whole.accepted, whole.refused), (storm.samples.len(), 0), "{}", storm.name);
    let (random, mutated) = storm.rage();
    println!("{}, seed {}: random {random:?}, mutated {mutated:?}", storm.name, storm.seed);
    assert!(random.refused > 0, "{random:?}");
    assert!(mutated.accepted > 0 && mutated.refused > 0, "{mutated:?}");
}
