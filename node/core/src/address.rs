//! Addresses that strangers name: which of them are worth a dial. Never here: who is dialled, when.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The address as it is written everywhere: an IPv4 address in IPv6 clothes without them, no flow
/// label.
#[must_use]
pub fn canonical(addr: SocketAddr) -> SocketAddr {
    match (addr.ip().to_canonical(), addr) {
        // The scope of a link-local address says on which link it is: it has to stay.
        (IpAddr::V6(_), SocketAddr::V6(mut addr)) => {
            addr.set_flowinfo(0);
            addr.into()
        }
        (ip, addr) => SocketAddr::new(ip, addr.port()),
    }
}

/// Whether one host can listen there: not port 0, and neither an unspecified address nor one of a
/// group.
#[must_use]
pub fn is_host(addr: SocketAddr) -> bool {
    let ip = addr.ip().to_canonical();
    let nobody = match ip {
        IpAddr::V4(ip) => ip.octets()[0] == 0 || ip == Ipv4Addr::BROADCAST,
        IpAddr::V6(ip) => ip.is_unspecified(),
    };
    addr.port() != 0 && !nobody && !ip.is_multicast()
}

/// Whether an address means the same host to who listens at `near` as to who names it: addresses
/// on loopback and on a link only mean something to those who are there themselves.
#[must_use]
pub fn is_shared(addr: SocketAddr, near: IpAddr) -> bool {
    let (ip, near) = (addr.ip().to_canonical(), near.to_canonical());
    match ip {
        ip if ip.is_loopback() => near.is_loopback(),
        IpAddr::V4(ip) if ip.is_link_local() => match near {
            IpAddr::V4(near) => near.is_link_local(),
            IpAddr::V6(_) => false,
        },
        // On which link, nobody can say.
        IpAddr::V6(ip) => !ip.is_unicast_link_local(),
        IpAddr::V4(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn nobody_listens_at_groups_and_nowhere() {
        for good in ["10.0.0.1:1", "127.0.0.1:7000", "[2001:db8::1]:65535", "255.255.255.254:1"] {
            assert!(is_host(addr(good)), "{good}");
        }
        for bad in [
            "10.0.0.1:0",
            "0.0.0.0:1",
            "0.1.2.3:1",
            "255.255.255.255:1",
            "224.0.0.1:1",
            "239.192.152.143:6771",
            "[::]:1",
            "[ff15::efc0:988f]:1",
            "[::ffff:224.0.0.1]:1",
            "[::ffff:0.0.0.0]:1",
        ] {
            assert!(!is_host(addr(bad)), "{bad}");
        }
    }

    #[test]
    fn loopback_and_links_are_shared_only_with_those_who_are_there() {
        let check = |named: &str, near: &str, shared: bool| {
            assert_eq!(is_shared(addr(named), near.parse().unwrap()), shared, "{named} to {near}");
        };
        check("10.0.0.1:1", "8.8.8.8", true);
        check("8.8.8.8:1", "10.0.0.1", true);
        check("127.0.0.2:1", "127.0.0.1", true);
        check("127.0.0.2:1", "10.0.0.1", false);
        check("[::1]:1", "::1", true);
        check("[::1]:1", "2001:db8::1", false);
        check("[::ffff:127.0.0.1]:1", "10.0.0.1", false);
        check("169.254.0.1:1", "169.254.9.9", true);
        check("169.254.0.1:1", "10.0.0.1", false);
        check("169.254.0.1:1", "fe80::1", false);
        check("[fe80::1]:1", "fe80::2", false);
    }

    #[test]
    fn one_host_has_one_spelling() {
        assert_eq!(canonical(addr("[::ffff:10.0.0.1]:7")), addr("10.0.0.1:7"));
        assert_eq!(canonical(addr("[fe80::1%3]:7")), addr("[fe80::1%3]:7"));
        let flowing = std::net::SocketAddrV6::new("2001:db8::1".parse().unwrap(), 7, 99, 0);
        assert_eq!(canonical(flowing.into()), addr("[2001:db8::1]:7"));
    }
}
