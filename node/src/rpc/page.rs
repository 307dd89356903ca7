//! Pages of a list: sizes, opaque tokens, and the bytes that a reply may take. Never here: a list.

use prost::Message;

use super::status::Refusal;

/// Items of a page where the caller does not say.
pub const PAGE_SIZE_DEFAULT: usize = 100;
/// The most items of a page.
pub const PAGE_SIZE_MAX: u32 = 1000;
/// The most bytes of a list in one reply: below the 4 MiB that most clients take, with room for
/// what stands beside it.
pub const LIST_LEN_MAX: usize = 3 * 1024 * 1024;

/// Which list a token belongs to: a token of another list is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct List(pub &'static str);

/// The size of a page, 0 standing for the default.
///
/// # Errors
/// A refusal of `page_size` above [`PAGE_SIZE_MAX`].
pub fn size(page_size: u32) -> Result<usize, Refusal> {
    sized("page_size", page_size)
}

/// As [`size`], for a field of another name.
///
/// # Errors
/// A refusal of the field above [`PAGE_SIZE_MAX`].
pub fn sized(field: &'static str, size: u32) -> Result<usize, Refusal> {
    match size {
        0 => Ok(PAGE_SIZE_DEFAULT),
        1..=PAGE_SIZE_MAX => Ok(size as usize),
        _ => Err(Refusal::field(field, format!("{size} is above {PAGE_SIZE_MAX}"))),
    }
}

impl List {
    /// The token of the page that begins at this place.
    #[must_use]
    pub fn token(self, place: &str) -> String {
        hex::encode(format!("{}:{place}", self.0))
    }

    /// The place where a page begins; none for the first.
    ///
    /// # Errors
    /// A refusal of a token that is none of this list's.
    pub fn place(self, token: &str) -> Result<Option<String>, Refusal> {
        if token.is_empty() {
            return Ok(None);
        }
        let text = hex::decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let place =
            text.and_then(|text| Some(text.strip_prefix(self.0)?.strip_prefix(':')?.into()));
        place.map(Some).ok_or_else(|| self.bad_token())
    }

    /// As [`place`](Self::place), where places are counted from 0.
    ///
    /// # Errors
    /// A refusal of a token that is none of this list's.
    pub fn offset(self, token: &str) -> Result<usize, Refusal> {
        match self.place(token)? {
            None => Ok(0),
            Some(place) => place.parse().map_err(|_| self.bad_token()),
        }
    }

    /// What a token is refused with.
    #[must_use]
    pub fn bad_token(self) -> Refusal {
        Refusal::field("page_token", format!("is no token of a list of {}", self.0))
    }

    /// A page of `items`, counted from 0, and the token of the next: at most `size` items and
    /// [`LIST_LEN_MAX`] bytes, at least one item where there is one.
    pub fn page<M: Message>(
        self,
        items: impl IntoIterator<Item = M>,
        offset: usize,
        size: usize,
    ) -> (Vec<M>, String) {
        let mut items = items.into_iter().skip(offset).peekable();
        let page = fill(&mut items, size, LIST_LEN_MAX);
        let next = match items.peek() {
            Some(_) => self.token(&(offset + page.len()).to_string()),
            None => String::new(),
        };
        (page, next)
    }
}

/// The first of `items`, at most `size` and `len_max` bytes, at least one. The rest stays.
pub fn fill<M: Message, I: Iterator<Item = M>>(
    items: &mut std::iter::Peekable<I>,
    size: usize,
    len_max: usize,
) -> Vec<M> {
    let (mut page, mut len) = (Vec::new(), 0);
    while page.len() < size {
        let Some(item) = items.next_if(|item| {
            // The length on the wire: the item, its key and its length.
            len += item.encoded_len() + 6;
            page.is_empty() || len <= len_max
        }) else {
            break;
        };
        page.push(item);
    }
    page
}

/// The first of `names`, at most `size` and `len_max` bytes.
pub fn names(names: impl Iterator<Item = String>, size: usize, len_max: usize) -> Vec<String> {
    let mut len = 0;
    let fits = |name: &String| {
        len += name.len() + 6;
        len <= len_max
    };
    names.take(size).take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use shoal::v1::TrackerTier;

    use super::*;

    const LIST: List = List("tiers");

    fn tier(n: usize, len: usize) -> TrackerTier {
        TrackerTier { urls: vec![n.to_string().repeat(len)] }
    }

    fn walk(count: usize, len: usize, size: usize) -> Vec<usize> {
        let (mut token, mut sizes, mut seen) = (String::new(), Vec::new(), Vec::new());
        loop {
            let offset = LIST.offset(&token).unwrap();
            let (page, next) = LIST.page((0..count).map(|n| tier(n, len)), offset, size);
            assert!(
                page.iter().map(Message::encoded_len).sum::<usize>() < 4 << 20 || page.len() == 1
            );
            sizes.push(page.len());
            seen.extend(page);
            if next.is_empty() {
                break;
            }
            token = next;
        }
        assert_eq!(seen, (0..count).map(|n| tier(n, len)).collect::<Vec<_>>());
        sizes
    }

    #[test]
    fn pages_cover_the_list_once_and_end() {
        assert_eq!(walk(0, 1, 10), [0]);
        assert_eq!(walk(10, 1, 10), [10]);
        assert_eq!(walk(21, 1, 10), [10, 10, 1]);
    }

    #[test]
    fn a_page_ends_before_it_outgrows_a_reply() {
        let sizes = walk(9, 1 << 20, 1000);
        assert_eq!(sizes, [2, 2, 2, 2, 1]);
        assert_eq!(walk(2, 5 << 20, 1000), [1, 1], "one item always fits");
    }

    #[test]
    fn page_sizes_are_bounded_and_have_a_default() {
        assert_eq!(size(0), Ok(PAGE_SIZE_DEFAULT));
        assert_eq!(size(1000), Ok(1000));
        let refusal = size(1001).unwrap_err();
        assert_eq!(refusal.field.unwrap().0, "page_size");
    }

    #[test]
    fn tokens_of_another_list_and_made_up_ones_are_refused() {
        let other = List("jobs").token("3");
        for bad in
            [other.as_str(), "zz", "00", "7", &hex::encode("tiers:x"), &hex::encode("tiers3")]
        {
            let refusal = LIST.offset(bad).unwrap_err();
            assert_eq!(refusal.field.unwrap().0, "page_token", "{bad}");
        }
    }

    #[test]
    fn names_are_bounded_in_number_and_bytes() {
        let all = || (0..10).map(|_| "x".repeat(94));
        assert_eq!(names(all(), 3, 10_000).len(), 3);
        assert_eq!(names(all(), 100, 499).len(), 4);
        assert_eq!(names(all(), 100, 500).len(), 5);
    }
}
