//! Asking the tracker of a contest. Never here: what follows from its answer.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

/// How long the tracker may take to answer a scrape.
const SCRAPE_WITHIN: Duration = Duration::from_secs(2);
/// How often it is asked.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// The most that is read of its answer, bytes.
const SCRAPE_LEN_MAX: u64 = 16 << 10;

/// Asks the tracker at `announce` whether it knows a seeder of the torrent. Not reached is no.
pub(crate) fn has_seeder(tracker: SocketAddr, info_hash: [u8; 20]) -> bool {
    // Without the deadline of a connection a tracker that hangs would hang us.
    scrape(tracker, info_hash).is_ok_and(|answer| seeders(&answer) > 0)
}

/// Waits for ever until the tracker knows a seeder.
pub(crate) fn await_seeder(tracker: SocketAddr, info_hash: [u8; 20]) {
    while !has_seeder(tracker, info_hash) {
        thread::sleep(ASK_EVERY);
    }
}

fn scrape(tracker: SocketAddr, info_hash: [u8; 20]) -> std::io::Result<Vec<u8>> {
    let hash: String = info_hash.iter().map(|byte| format!("%{byte:02x}")).collect();
    let mut stream = TcpStream::connect_timeout(&tracker, SCRAPE_WITHIN)?;
    stream.set_read_timeout(Some(SCRAPE_WITHIN))?;
    stream.set_write_timeout(Some(SCRAPE_WITHIN))?;
    let head = format!(
        "GET /scrape?info_hash={hash} HTTP/1.1\r\nHost: {tracker}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(SCRAPE_LEN_MAX).read_to_end(&mut answer)?;
    Ok(answer)
}

/// The count of seeders in the answer to a scrape of one torrent (BEP 48), 0 where it has none.
fn seeders(answer: &[u8]) -> u64 {
    let key = b"8:completei";
    let Some(at) = answer.windows(key.len()).position(|window| window == key) else { return 0 };
    let digits = answer[at + key.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |count: u64, digit| {
        count.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeders_are_counted_from_a_scrape() {
        let check = |answer: &[u8], expected| assert_eq!(seeders(answer), expected);
        check(b"HTTP/1.1 200 OK\r\n\r\nd5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei12e", 12);
        check(b"d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei0e10:incompletei3eeee", 0);
        check(b"d14:failure reason7:no suche", 0);
        check(b"8:completei99999999999999999999999e", u64::MAX);
    }
}
