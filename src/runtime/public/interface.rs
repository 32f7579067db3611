//! The address of an interface that others are to be told.

use std::{fs, io, net::IpAddr};

use super::remoteness;
use crate::runtime::sys;

/// Flags of the kernel (IFA_F_*) for addresses that come and go: temporary, failed, deprecated, tentative.
const FLEETING: u32 = 0x01 | 0x08 | 0x20 | 0x40;

/// The most public address of the interface in this family; `before` if it is as good as any. `None` if there is none.
///
/// # Errors
/// The system lists no addresses.
pub(super) fn address_of(name: &str, is_ipv4: bool, before: Option<IpAddr>) -> io::Result<Option<IpAddr>> {
    let mut addresses = sys::addresses_of_interface(name)?;
    addresses.retain(|ip| ip.is_ipv4() == is_ipv4 && remoteness(*ip) != 2);
    if !is_ipv4 {
        let table = fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
        let lasting: Vec<IpAddr> =
            addresses.iter().copied().filter(|ip| !is_fleeting(*ip, name, &table)).collect();
        if !lasting.is_empty() {
            addresses = lasting;
        }
    }
    Ok(best(&addresses, before))
}

fn best(addresses: &[IpAddr], before: Option<IpAddr>) -> Option<IpAddr> {
    addresses.iter().copied().min_by_key(|ip| (remoteness(*ip), Some(*ip) != before))
}

/// Whether the kernel's table says so: address, index, prefix length, scope and flags in hexadecimal, and the name.
fn is_fleeting(ip: IpAddr, name: &str, table: &str) -> bool {
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [address, _, _, _, flags, interface] = fields[..] else { return false };
        let listed = u128::from_str_radix(address, 16).map(|bits| IpAddr::V6(bits.into()));
        let flags = u32::from_str_radix(flags, 16).unwrap_or_default();
        interface == name && listed == Ok(ip) && flags & FLEETING != 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_most_public_address_is_told_and_kept_while_it_is_as_good_as_any() {
        let addresses = [ip("10.0.0.5"), ip("203.0.113.5"), ip("203.0.113.6")];
        assert_eq!(best(&addresses, None), Some(ip("203.0.113.5")));
        assert_eq!(best(&addresses, Some(ip("203.0.113.6"))), Some(ip("203.0.113.6")));
        assert_eq!(best(&addresses, Some(ip("10.0.0.5"))), Some(ip("203.0.113.5")));
        assert_eq!(best(&addresses, Some(ip("203.0.113.9"))), Some(ip("203.0.113.5")));
        assert_eq!(best(&[], Some(ip("203.0.113.9"))), None);
    }

    #[test]
    fn addresses_that_come_and_go_are_recognised() {
        let table = "20010db8000000000000000000000005 02 40 00 80     eth0\n\
                     20010db8000000000000000000000006 02 40 00 01     eth0\n\
                     20010db8000000000000000000000007 02 40 00 e0     eth0\n";
        let fleeting = |text| is_fleeting(ip(text), "eth0", table);
        assert_eq!(["2001:db8::5", "2001:db8::6", "2001:db8::7"].map(fleeting), [false, true, true]);
        assert!(!is_fleeting(ip("2001:db8::6"), "eth1", table));
    }

    #[test]
    fn the_loopback_interface_is_found_and_another_is_not() {
        assert_eq!(address_of("lo", true, None).unwrap(), Some(ip("127.0.0.1")));
        assert_eq!(address_of("no-such-one", true, None).unwrap(), None);
    }
}
