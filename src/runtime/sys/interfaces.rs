//! The addresses of this machine.
#![allow(unsafe_code)]

use std::{io, net::IpAddr, ptr};

use super::{address::RawAddress, checked};

/// Every IPv4 and IPv6 address of every interface, each once, in the system's order.
pub(crate) fn interface_addresses() -> io::Result<Vec<IpAddr>> {
    let mut first: *mut libc::ifaddrs = ptr::null_mut();
    // SAFETY: the pointer lives across the call.
    checked(unsafe { libc::getifaddrs(&raw mut first) })?;

    let mut addresses = Vec::new();
    let mut next = first;
    while !next.is_null() {
        // SAFETY: the system links whole entries, the last one to null, and they live until `freeifaddrs`; their
        // addresses are null or whole.
        let address = unsafe {
            let entry = &*next;
            next = entry.ifa_next;
            RawAddress::read(entry.ifa_addr)
        };
        if let Some(ip) = address.map(|address| address.ip())
            && !addresses.contains(&ip)
        {
            addresses.push(ip);
        }
    }
    // SAFETY: `first` came from `getifaddrs` and nothing refers to the list any more.
    unsafe { libc::freeifaddrs(first) };
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_an_address_of_this_machine() {
        assert!(interface_addresses().unwrap().contains(&"127.0.0.1".parse().unwrap()));
    }
}
