//! Which servers may be asked: a torrent comes from anybody, and must not make this machine talk to
//! itself, to its neighbours on the link or to what a cloud tells its machines (SSRF). Judged are
//! the addresses that are connected to, whatever their names said before, and every redirect.
//! Never here: a request.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};

use crate::http;

/// The most redirects of one request.
pub(super) const REDIRECTS_MAX: usize = 5;

/// What may be asked. Private networks may: the server of a machine room is in one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Guard {
    /// Loopback addresses may be asked too.
    pub loopback: bool,
}

/// Why a server is not asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(String);

/// Where clouds tell their machines secrets, beside 169.254.169.254.
const METADATA_V4: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

impl Guard {
    /// Whether an address may be asked.
    pub(super) fn check(self, ip: IpAddr) -> Result<(), Refused> {
        let kind = match ip {
            IpAddr::V4(ip) => of_v4(ip),
            IpAddr::V6(ip) => of_v6(ip),
        };
        match kind {
            None => Ok(()),
            Some(Kind::Loopback) if self.loopback => Ok(()),
            Some(Kind::Loopback) => {
                Err(Refused(format!("{ip} is this machine; --web-seeds-loopback allows it")))
            }
            Some(Kind::Never(what)) => Err(Refused(format!("{ip} is {what}: not for web seeds"))),
        }
    }

    /// Whether a URL may be asked, as far as it tells: an address in it never meets the resolver.
    pub(super) fn check_url(self, url: &Url) -> Result<(), Refused> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refused(format!("{} is not supported", url.scheme())));
        }
        let Some(host) = url.host_str() else { return Err(Refused("no host".to_owned())) };
        match host.trim_matches(['[', ']']).parse() {
            Ok(ip) => self.check(ip),
            Err(_) => Ok(()),
        }
    }

    /// The addresses of a host that may be asked; there is at least one.
    pub(super) async fn find(self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Refused> {
        let host = host.trim_matches(['[', ']']);
        let found = tokio::net::lookup_host((host, port)).await;
        let found = found.map_err(|error| Refused(format!("{host}: {error}")))?;
        self.of_these(host, found)
    }

    /// Those of a host's addresses that may be asked.
    fn of_these(
        self,
        host: &str,
        found: impl Iterator<Item = SocketAddr>,
    ) -> Result<Vec<SocketAddr>, Refused> {
        let mut refused = Refused(format!("{host} has no address"));
        let mut allowed = Vec::new();
        for addr in found {
            match self.check(addr.ip()) {
                Ok(()) => allowed.push(addr),
                Err(error) => refused = error,
            }
        }
        if allowed.is_empty() { Err(refused) } else { Ok(allowed) }
    }

    /// Follows a redirect, or not.
    pub(super) fn follow(self, attempt: redirect::Attempt) -> redirect::Action {
        if attempt.previous().len() > REDIRECTS_MAX {
            return attempt.error(format!("more than {REDIRECTS_MAX} redirects"));
        }
        let was_https = attempt.previous().iter().any(|url| url.scheme() == "https");
        if was_https && attempt.url().scheme() == "http" {
            return attempt.error("redirects from HTTPS to HTTP, where anyone can listen");
        }
        match self.check_url(attempt.url()) {
            Ok(()) => attempt.follow(),
            Err(refused) => {
                let to = http::address(attempt.url());
                attempt.error(Refused(format!("redirects to {to}: {refused}")))
            }
        }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = *self;
        Box::pin(async move {
            let found = guard.find(name.as_str(), 0).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// What is not asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Loopback,
    Never(&'static str),
}

fn of_v4(ip: Ipv4Addr) -> Option<Kind> {
    match ip.octets() {
        [127, ..] => Some(Kind::Loopback),
        [0, ..] => Some(Kind::Never("no address of a host")),
        [169, 254, ..] => Some(Kind::Never("a link-local address")),
        [192, 0, 0, _] | [240..=255, ..] => Some(Kind::Never("a reserved address")),
        [224..=239, ..] => Some(Kind::Never("a multicast address")),
        _ if ip == METADATA_V4 => Some(Kind::Never("the metadata of a cloud")),
        _ => None,
    }
}

fn of_v6(ip: Ipv6Addr) -> Option<Kind> {
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        of_v4(Ipv4Addr::new(a, b, c, d))
    };
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Some(Kind::Loopback),
        [0, 0, 0, 0, 0, 0, 0, 0] => Some(Kind::Never("no address of a host")),
        // IPv4 in the clothes of IPv6: mapped, compatible, translated (NAT64), 6to4.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            embedded(high, low)
        }
        [0x2002, high, low, ..] => embedded(high, low),
        [0x64, 0xff9b, 1, ..] | [0x2001, 0, ..] => Some(Kind::Never("a tunnel")),
        [0xfe80..=0xfebf, ..] => Some(Kind::Never("a link-local address")),
        [0xff00..=0xffff, ..] => Some(Kind::Never("a multicast address")),
        _ if METADATA_V6.contains(&ip) => Some(Kind::Never("the metadata of a cloud")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: Guard = Guard { loopback: false };
    const LOOSE: Guard = Guard { loopback: true };

    /// Addresses, and whether each may be asked: without the flag, with it.
    const TABLE: [(&str, bool, bool); 34] = [
        ("127.0.0.1", false, true),
        ("127.255.255.254", false, true),
        ("::1", false, true),
        ("::ffff:127.0.0.1", false, true),
        ("::127.0.0.1", false, true),
        ("64:ff9b::7f00:1", false, true),
        ("2002:7f00:1::", false, true),
        ("169.254.169.254", false, false),
        ("169.254.0.1", false, false),
        ("::ffff:169.254.169.254", false, false),
        ("64:ff9b::a9fe:a9fe", false, false),
        ("2002:a9fe:a9fe::1", false, false),
        ("fe80::1", false, false),
        ("febf::1", false, false),
        ("0.0.0.0", false, false),
        ("0.1.2.3", false, false),
        ("::", false, false),
        ("::ffff:0.0.0.0", false, false),
        ("224.0.0.1", false, false),
        ("255.255.255.255", false, false),
        ("192.0.0.192", false, false),
        ("ff02::1", false, false),
        ("100.100.100.200", false, false),
        ("fd00:ec2::254", false, false),
        ("2001::1", false, false),
        ("64:ff9b:1::1", false, false),
        ("10.1.2.3", true, true),
        ("172.16.0.1", true, true),
        ("192.168.0.1", true, true),
        ("100.64.0.1", true, true),
        ("fd12:3456::1", true, true),
        ("93.184.215.14", true, true),
        ("::ffff:93.184.215.14", true, true),
        ("2606:2800:21f:cb07::1", true, true),
    ];

    #[test]
    fn every_kind_of_address_has_its_verdict() {
        for (ip, strict, loose) in TABLE {
            let ip: IpAddr = ip.parse().unwrap();
            assert_eq!(STRICT.check(ip).is_ok(), strict, "{ip}");
            assert_eq!(LOOSE.check(ip).is_ok(), loose, "{ip}");
        }
    }

    #[test]
    fn an_address_in_a_url_is_judged_in_whatever_spelling() {
        for (ip, strict, _) in TABLE {
            let ip: IpAddr = ip.parse().unwrap();
            let url = Url::parse(&format!("http://{}/a", SocketAddr::new(ip, 81))).unwrap();
            assert_eq!(STRICT.check_url(&url).is_ok(), strict, "{url}");
        }
        let refused = [
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f.0.0.1/",
            "http://0251.0376.169.254/",
            "http://user:secret@127.0.0.1/",
            "http://[::ffff:7f00:1]/",
            "http://127.0.0.1./",
            "ftp://w/",
            "file:///etc/passwd",
        ];
        for url in refused {
            let url = Url::parse(url).unwrap();
            let Err(refused) = STRICT.check_url(&url) else { panic!("{url}") };
            assert!(!refused.to_string().contains("secret"), "{refused}");
        }
        assert_eq!(STRICT.check_url(&Url::parse("https://w.example/").unwrap()), Ok(()));
    }

    #[test]
    fn of_a_hosts_addresses_only_those_are_asked_that_may_be() {
        let addrs = |list: &[&str]| {
            let list: Vec<SocketAddr> = list.iter().map(|addr| addr.parse().unwrap()).collect();
            list
        };
        let mixed = addrs(&["127.0.0.1:80", "10.0.0.1:80", "[fe80::1]:80"]);
        let allowed = STRICT.of_these("w", mixed.into_iter());
        assert_eq!(allowed.unwrap(), addrs(&["10.0.0.1:80"]));
        let none = STRICT.of_these("w", addrs(&["127.0.0.1:80"]).into_iter()).unwrap_err();
        assert!(none.to_string().contains("--web-seeds-loopback"), "{none}");
        assert!(STRICT.of_these("w", std::iter::empty()).is_err());
    }

    #[tokio::test]
    async fn names_of_this_machine_are_no_way_round() {
        assert!(STRICT.find("localhost", 80).await.is_err());
        assert!(LOOSE.find("localhost", 80).await.is_ok());
        assert!(STRICT.find("[::1]", 80).await.is_err());
    }
}
