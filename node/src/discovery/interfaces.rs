//! The interfaces of this host that take part in local discovery. Never here: sockets.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr},
};

use nix::{ifaddrs::getifaddrs, net::if_::InterfaceFlags, net::if_::if_nametoindex};

/// An interface, as the system calls for multicast want it named.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Interface {
    /// By its address.
    V4(Ipv4Addr),
    /// By its index.
    V6(u32),
}

/// The interfaces to use in the family of a group, for a node that listens at `listen`: the one
/// of that address, or of an unspecified one all that are up and can do multicast, loopback apart.
///
/// # Errors
/// Where the system does not list its interfaces.
pub(super) fn of(listen: IpAddr, v4: bool) -> io::Result<BTreeSet<Interface>> {
    if let (IpAddr::V4(ip), true) = (listen, v4)
        && !ip.is_unspecified()
    {
        return Ok([Interface::V4(ip)].into());
    }
    let mut found = BTreeSet::new();
    let mut named = BTreeSet::new();
    for entry in getifaddrs()? {
        let ip = entry.address.and_then(|address| {
            let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
        });
        let Some(ip) = ip.filter(|ip| ip.is_ipv4() == v4) else { continue };
        let wanted = if listen.is_unspecified() { may(entry.flags) } else { ip == listen };
        // An interface with several addresses is used once.
        if !wanted || !named.insert(entry.interface_name.clone()) {
            continue;
        }
        found.insert(match ip {
            IpAddr::V4(ip) => Interface::V4(ip),
            IpAddr::V6(_) => Interface::V6(if_nametoindex(entry.interface_name.as_str())?),
        });
    }
    Ok(found)
}

fn may(flags: InterfaceFlags) -> bool {
    let needed = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_MULTICAST;
    flags.contains(needed) && !flags.contains(InterfaceFlags::IFF_LOOPBACK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_specific_address_is_its_own_interface_and_loopback_is_none_of_all() {
        let one = of(Ipv4Addr::new(127, 0, 0, 9).into(), true).unwrap();
        assert_eq!(one, [Interface::V4(Ipv4Addr::new(127, 0, 0, 9))].into());
        for interface in of(Ipv4Addr::UNSPECIFIED.into(), true).unwrap() {
            assert!(matches!(interface, Interface::V4(ip) if !ip.is_loopback()), "{interface:?}");
        }
        assert!(of("2001:db8::9".parse().unwrap(), false).unwrap().is_empty());
    }
}
