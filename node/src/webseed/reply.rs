//! Whether the head of an answer promises the bytes that were asked for. Pure. Never here: the
//! body.

use std::time::{Duration, SystemTime};

use reqwest::{
    StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderName, RETRY_AFTER},
};
use shoal_core::session::fault::{Retry, WebSeedFault};

/// The longest rest that a server may ask for.
pub(super) const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

/// What was asked for: a part of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ask {
    /// Where it begins in the file, bytes.
    pub(super) first: u64,
    /// Bytes, at least one.
    pub(super) len: u64,
    /// Bytes of the file, as the torrent has it.
    pub(super) file_len: u64,
}

impl Ask {
    /// For the header `Range`.
    pub(super) fn range(self) -> String {
        format!("bytes={}-{}", self.first, self.first + self.len - 1)
    }

    /// Judges the head of an answer: what follows are the bytes, or it is the fault of the server.
    pub(super) fn judge(
        self,
        status: StatusCode,
        headers: &HeaderMap,
        now: SystemTime,
    ) -> Result<(), WebSeedFault> {
        match status {
            StatusCode::PARTIAL_CONTENT | StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                return never(format!("has not got a file of the torrent: HTTP status {status}"));
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                return never("has a shorter file than the torrent".to_owned());
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                let cause = format!("HTTP status {status}");
                let retry = retry_after(text(headers, RETRY_AFTER), now);
                return Err(WebSeedFault { cause, retry });
            }
            status => return later(format!("HTTP status {status}")),
        }
        if text(headers, CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            return later("sends the file compressed, though asked not to".to_owned());
        }
        let len = text(headers, CONTENT_LENGTH).and_then(|len| len.parse::<u64>().ok());
        match status {
            StatusCode::PARTIAL_CONTENT => self.judge_range(text(headers, CONTENT_RANGE))?,
            // The whole file: right where that is what was asked for.
            _ if self.len < self.file_len => {
                return never("serves no ranges of files".to_owned());
            }
            _ if len.is_some_and(|len| len != self.file_len) => {
                return never(other_len(len, self.file_len));
            }
            _ => {}
        }
        match len {
            Some(len) if len != self.len => {
                later(format!("sends {len} bytes where {} were asked for", self.len))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn judge_range(self, range: Option<&str>) -> Result<(), WebSeedFault> {
        let parts = range.and_then(parts);
        let Some((first, last, total)) = parts else {
            return later("sends a part of the file without saying which".to_owned());
        };
        if total.is_some_and(|total| total != self.file_len) {
            return never(other_len(total, self.file_len));
        }
        if (first, last) != (self.first, self.first + self.len - 1) {
            return later("sends another part of the file than was asked for".to_owned());
        }
        Ok(())
    }
}

fn never(cause: String) -> Result<(), WebSeedFault> {
    Err(WebSeedFault { cause, retry: Retry::Never })
}

fn later(cause: String) -> Result<(), WebSeedFault> {
    Err(WebSeedFault { cause, retry: Retry::Later })
}

fn other_len(got: Option<u64>, expected: u64) -> String {
    let got = got.unwrap_or(0);
    format!("has a file of {got} bytes where the torrent's has {expected}")
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

/// First byte, last byte and length of the file of `bytes 0-9/100`; the length may be `*`.
fn parts(range: &str) -> Option<(u64, u64, Option<u64>)> {
    let (unit, range) = range.split_once(' ')?;
    let (range, total) = range.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let total = match total {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    unit.eq_ignore_ascii_case("bytes").then_some((first.parse().ok()?, last.parse().ok()?, total))
}

/// Seconds, or a date (RFC 9110), within bounds.
fn retry_after(value: Option<&str>, now: SystemTime) -> Retry {
    let seconds = |value: &str| value.parse().ok().map(Duration::from_secs);
    let date = |value: &str| httpdate::parse_http_date(value).ok()?.duration_since(now).ok();
    match value.and_then(|value| seconds(value).or_else(|| date(value))) {
        Some(wish) => Retry::After(wish.min(RETRY_AFTER_MAX)),
        None => Retry::Later,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASK: Ask = Ask { first: 10, len: 20, file_len: 100 };
    const WHOLE: Ask = Ask { first: 0, len: 100, file_len: 100 };

    type Headers<'a> = &'a [(HeaderName, &'a str)];

    /// The verdict: none where the bytes follow.
    fn verdict(ask: Ask, status: u16, headers: Headers<'_>) -> Option<Retry> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(name, value.parse().unwrap());
        }
        let judged = ask.judge(status.try_into().unwrap(), &map, SystemTime::UNIX_EPOCH);
        judged.err().map(|fault| fault.retry)
    }

    #[test]
    fn every_head_of_an_answer_has_its_verdict() {
        use Retry::{After, Later, Never};
        let s = Duration::from_secs;
        let range = |value| (CONTENT_RANGE, value);
        let len = |value| (CONTENT_LENGTH, value);
        let wait = |value| (RETRY_AFTER, value);
        let right = || range("bytes 10-29/100");
        let table: [(Ask, u16, Headers<'_>, Option<Retry>); 34] = [
            (ASK, 206, &[right()], None),
            (ASK, 206, &[right(), len("20")], None),
            (ASK, 206, &[range("Bytes 10-29/*")], None),
            (ASK, 206, &[right(), (CONTENT_ENCODING, "identity")], None),
            (ASK, 206, &[right(), (CONTENT_ENCODING, "gzip")], Some(Later)),
            (ASK, 206, &[right(), len("21")], Some(Later)),
            (ASK, 206, &[], Some(Later)),
            (ASK, 206, &[range("bytes 0-19/100")], Some(Later)),
            (ASK, 206, &[range("bytes 10-30/100")], Some(Later)),
            (ASK, 206, &[range("bytes 10-29/101")], Some(Never)),
            (ASK, 206, &[range("lines 10-29/100")], Some(Later)),
            (ASK, 206, &[range("bytes */100")], Some(Later)),
            (ASK, 206, &[range("bytes 10-29/99999999999999999999")], Some(Later)),
            (ASK, 206, &[range("nonsense")], Some(Later)),
            (ASK, 200, &[len("100")], Some(Never)),
            (ASK, 200, &[], Some(Never)),
            (WHOLE, 200, &[len("100")], None),
            (WHOLE, 200, &[], None),
            (WHOLE, 200, &[len("99")], Some(Never)),
            (WHOLE, 206, &[range("bytes 0-99/100")], None),
            (ASK, 404, &[], Some(Never)),
            (ASK, 410, &[], Some(Never)),
            (ASK, 416, &[], Some(Never)),
            (ASK, 403, &[], Some(Later)),
            (ASK, 500, &[], Some(Later)),
            (ASK, 204, &[], Some(Later)),
            (ASK, 304, &[], Some(Later)),
            (ASK, 503, &[], Some(Later)),
            (ASK, 503, &[wait("120")], Some(After(s(120)))),
            (ASK, 429, &[wait("999999999")], Some(After(RETRY_AFTER_MAX))),
            (ASK, 503, &[wait("-1")], Some(Later)),
            (ASK, 503, &[wait("Thu, 01 Jan 1970 00:01:30 GMT")], Some(After(s(90)))),
            (ASK, 503, &[wait("Tue, 01 Jan 2999 00:00:00 GMT")], Some(After(RETRY_AFTER_MAX))),
            (ASK, 503, &[wait("soon")], Some(Later)),
        ];
        for (ask, status, headers, expected) in table {
            assert_eq!(verdict(ask, status, headers), expected, "{ask:?} {status} {headers:?}");
        }
    }

    #[test]
    fn ranges_name_the_last_byte() {
        assert_eq!((ASK.range().as_str(), WHOLE.range().as_str()), ("bytes=10-29", "bytes=0-99"));
    }
}
