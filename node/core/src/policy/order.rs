//! In which order the pieces of a download are begun. Never here: which piece is next.

/// The order in which pieces are begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Order {
    /// The fewest holders first, ties at random (the default).
    #[default]
    Rarest,
    /// From the first to the last.
    Sequential,
    /// At random.
    Random,
}

impl Order {
    /// Every order, the default first.
    pub const ALL: [Self; 3] = [Self::Rarest, Self::Sequential, Self::Random];

    /// Its name in scripts and replies.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rarest => "rarest",
            Self::Sequential => "sequential",
            Self::Random => "random",
        }
    }
}

/// How a policy wants the pieces of a download to be begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkOrder {
    /// The order.
    pub strategy: Order,
    /// Only the first so many missing pieces are looked at, in order of index, 1 to
    /// [`crate::config::ORDER_WINDOW_MAX`]; none: all of them.
    pub window: Option<u32>,
    /// The last extents of the download may be fetched twice (endgame). Default true.
    pub duplicate: bool,
}

impl Default for ChunkOrder {
    fn default() -> Self {
        Self { strategy: Order::default(), window: None, duplicate: true }
    }
}
