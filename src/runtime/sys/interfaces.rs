//! The addresses of this machine.
#![allow(unsafe_code)]

use std::{ffi::CStr, io, net::IpAddr, ptr};

use super::{address::RawAddress, checked};

/// Every IPv4 and IPv6 address of every interface, each once, in the system's order.
pub(crate) fn interface_addresses() -> io::Result<Vec<IpAddr>> {
    addresses_of(None)
}

/// Those of the interface of this name; none if there is no such interface.
pub(crate) fn addresses_of_interface(name: &str) -> io::Result<Vec<IpAddr>> {
    addresses_of(Some(name))
}

fn addresses_of(wanted: Option<&str>) -> io::Result<Vec<IpAddr>> {
    let mut first: *mut libc::ifaddrs = ptr::null_mut();
    // SAFETY: the pointer lives across the call.
    checked(unsafe { libc::getifaddrs(&raw mut first) })?;

    let mut addresses = Vec::new();
    let mut next = first;
    while !next.is_null() {
        // SAFETY: the system links whole entries, the last one to null, and they live until `freeifaddrs`; their names
        // are texts, and their addresses are null or whole.
        let (name, address) = unsafe {
            let entry = &*next;
            next = entry.ifa_next;
            (CStr::from_ptr(entry.ifa_name), RawAddress::read(entry.ifa_addr))
        };
        if let Some(ip) = address.map(|address| address.ip())
            && wanted.is_none_or(|wanted| name.to_bytes() == wanted.as_bytes())
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
        let loopback = "127.0.0.1".parse().unwrap();
        assert!(interface_addresses().unwrap().contains(&loopback));
        assert!(addresses_of_interface("lo").unwrap().contains(&loopback));
        assert_eq!(addresses_of_interface("l").unwrap(), [] as [IpAddr; 0]);
    }
}
