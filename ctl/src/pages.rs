//! Fetches a list whole, page by page. Never here: what is listed.

use shoal::v1;

use crate::failure::Failure;

/// Most items of a page that a node sends.
pub(crate) const PAGE_SIZE_MAX: u32 = 1000;

/// A reply that is one page of a list.
pub(crate) trait Page {
    /// Items in it.
    fn len(&self) -> usize;
    /// Takes up the items of the page behind it.
    fn append(&mut self, next: Self);
    /// Keeps the first `count` items.
    fn truncate(&mut self, count: usize);
    /// The token of the page behind it; empty on the last.
    fn token(&mut self) -> &mut String;
}

macro_rules! pages {
    ($($reply:ident . $items:ident)*) => {
        $(impl Page for v1::$reply {
            fn len(&self) -> usize {
                self.$items.len()
            }

            fn append(&mut self, mut next: Self) {
                self.$items.append(&mut next.$items);
                self.next_page_token = next.next_page_token;
            }

            fn truncate(&mut self, count: usize) {
                self.$items.truncate(count);
            }

            fn token(&mut self) -> &mut String {
                &mut self.next_page_token
            }
        })*
    };
}

pages! {
    SeeConnectedResponse.connections
    SeeChunkStatusResponse.chunks
    ListTorrentsResponse.torrents
    GetTorrentResponse.files
    ListJobsResponse.jobs
    ListSwarmsResponse.swarms
    GetSwarmResponse.peers
    ListPoliciesResponse.policies
    ListTokensResponse.tokens
}

macro_rules! peer_set_pages {
    ($($reply:ident)*) => {
        $(impl Page for v1::$reply {
            fn len(&self) -> usize {
                self.set.as_ref().map_or(0, |set| set.peers.len())
            }

            fn append(&mut self, next: Self) {
                if let Some(mut more) = next.set {
                    self.set.get_or_insert_default().peers.append(&mut more.peers);
                }
                self.next_page_token = next.next_page_token;
            }

            fn truncate(&mut self, count: usize) {
                if let Some(set) = &mut self.set {
                    set.peers.truncate(count);
                }
            }

            fn token(&mut self) -> &mut String {
                &mut self.next_page_token
            }
        })*
    };
}

peer_set_pages! { GetPeerSetResponse SeePeerSetResponse }

/// Fetches pages of at most `page_max` items until the list ends or `limit` items are there, and
/// returns them as one reply. Its token is empty where the list is whole.
///
/// # Errors
/// Those of `fetch`, and a node whose tokens lead nowhere.
pub(crate) async fn gather<P: Page>(
    limit: Option<u32>,
    page_max: u32,
    mut fetch: impl AsyncFnMut(u32, String) -> Result<P, Failure>,
) -> Result<P, Failure> {
    let limit = limit.map_or(usize::MAX, |limit| limit as usize);
    let size = |have: usize| {
        u32::try_from(limit.saturating_sub(have)).unwrap_or(u32::MAX).clamp(1, page_max)
    };
    let mut all = fetch(size(0), String::new()).await?;
    while !all.token().is_empty() && all.len() < limit {
        let token = std::mem::take(all.token());
        let mut next = fetch(size(all.len()), token.clone()).await?;
        if *next.token() == token || (next.len() == 0 && !next.token().is_empty()) {
            return Err(Failure::internal("the node's list has no end: a page token leads back"));
        }
        all.append(next);
    }
    all.truncate(limit);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use super::*;

    fn wait<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    /// A list of `total` jobs that never sends more than 3 a page.
    async fn page(total: u64, size: u32, token: &str) -> Result<v1::ListJobsResponse, Failure> {
        let from: u64 = if token.is_empty() { 0 } else { token.parse().unwrap() };
        let to = total.min(from + u64::from(size.min(3)));
        Ok(v1::ListJobsResponse {
            jobs: (from..to).map(|id| v1::Job { id, ..v1::Job::default() }).collect(),
            next_page_token: if to < total { to.to_string() } else { String::new() },
        })
    }

    fn check(total: u64, limit: Option<u32>, ids: u64, whole: bool) {
        let all = wait(gather(limit, 1000, async |size, token| page(total, size, &token).await));
        let all = all.unwrap();
        let got: Vec<u64> = all.jobs.iter().map(|job| job.id).collect();
        assert_eq!(got, (0..ids).collect::<Vec<_>>());
        assert_eq!(all.next_page_token.is_empty(), whole, "{total} {limit:?}");
    }

    #[test]
    fn every_page_is_fetched_and_a_limit_is_kept() {
        check(0, None, 0, true);
        check(3, None, 3, true);
        check(10, None, 10, true);
        check(10, Some(4), 4, false);
        check(10, Some(10), 10, true);
        check(10, Some(11), 10, true);
    }

    #[test]
    fn a_token_that_leads_back_is_an_error() {
        let stuck = async |_, _| {
            Ok(v1::ListJobsResponse {
                jobs: vec![v1::Job::default()],
                next_page_token: "again".to_owned(),
            })
        };
        assert!(wait(gather(None, 1000, stuck)).is_err());
    }
}
