//! Which addresses may be connected to: a registry that someone named is one thing, a place that a registry names is another.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// What kind of place an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Class {
    /// On the internet.
    Public,
    /// In a private network.
    Private,
    /// This machine.
    Loopback,
    /// Link-local (where clouds keep their secrets), unspecified, multicast, reserved: no registry is there.
    Never,
}

/// The classes that one request may go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Allowed {
    /// A host that the user or the configuration named: all but `Never`.
    Named,
    /// A host that a registry of this class named: public, or the same class.
    Within(Class),
    /// Plain HTTP that must not leave this machine.
    LoopbackOnly,
}

impl Class {
    pub fn of(address: IpAddr) -> Class {
        match address {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        }
    }
}

fn of_v4(address: Ipv4Addr) -> Class {
    match address.octets() {
        [127, ..] => Class::Loopback,
        [10, ..] | [192, 168, ..] => Class::Private,
        [172, second, ..] if (16..32).contains(&second) => Class::Private,
        // Shared by carriers and cloud networks (RFC 6598), and for benchmarks (RFC 2544).
        [100, second, ..] if (64..128).contains(&second) => Class::Private,
        [198, 18 | 19, ..] => Class::Private,
        [0, ..] | [169, 254, ..] | [192, 0, 0, _] | [224..=255, ..] => Class::Never,
        _ => Class::Public,
    }
}

fn of_v6(address: Ipv6Addr) -> Class {
    let embedded = |high: u16, low: u16| of_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Class::Loopback,
        [0, 0, 0, 0, 0, 0, 0, 0] => Class::Never,
        // IPv4 in disguise: mapped, compatible, translated (RFC 6052), 6to4.
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => embedded(high, low),
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] | [0x64, 0xff9b, 1, ..] => Class::Private,
        [0xfe80..=0xfebf, ..] | [0xff00..=0xffff, ..] | [0x2001, 0, ..] => Class::Never,
        _ => Class::Public,
    }
}

impl Allowed {
    /// Why `address` is refused, or nothing.
    pub fn refusal(self, address: IpAddr) -> Option<&'static str> {
        match (self, Class::of(address)) {
            (_, Class::Never) => Some("no registry is at a link-local, unspecified or multicast address"),
            (Allowed::LoopbackOnly, class) if class != Class::Loopback => Some("without TLS only this machine is spoken to"),
            (Allowed::Within(home), class) if class != Class::Public && class != home => {
                Some("a registry may not send us to loopback or private addresses unless it is at such a one itself")
            }
            _ => None,
        }
    }
}

/// A resolver that refuses a name if any of its addresses is refused. The connection goes to the very addresses that were looked at.
pub(super) struct Guard(pub Allowed);

/// What the resolver refused; found again in the chain of causes of the request's error.
#[derive(Debug)]
pub(super) struct Refused {
    pub host: String,
    pub address: IpAddr,
    pub why: &'static str,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is at {}: {}", self.host, self.address, self.why)
    }
}

impl std::error::Error for Refused {}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = self.0;
        Box::pin(async move {
            let host = name.as_str().to_string();
            let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            for address in &addresses {
                if let Some(why) = allowed.refusal(address.ip()) {
                    return Err(Refused { host, address: address.ip(), why }.into());
                }
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(text: &str) -> Class {
        Class::of(text.parse().unwrap())
    }

    #[test]
    fn r12_addresses_are_classed_through_every_disguise() {
        for text in ["127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"] {
            assert_eq!(class(text), Class::Loopback, "{text}");
        }
        for text in ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "fd00:ec2::254", "::ffff:10.1.2.3"] {
            assert_eq!(class(text), Class::Private, "{text}");
        }
        for text in [
            "169.254.169.254",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "255.255.255.255",
            "fe80::1",
            "::",
            "ff02::1",
            "::ffff:169.254.1.1",
            "64:ff9b::a9fe:a9fe",
        ] {
            assert_eq!(class(text), Class::Never, "{text}");
        }
        for text in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "192.169.0.1"] {
            assert_eq!(class(text), Class::Public, "{text}");
        }
    }

    #[test]
    fn r12_a_registry_leads_only_outwards_or_to_its_like() {
        let refused = |allowed: Allowed, text: &str| allowed.refusal(text.parse().unwrap()).is_some();
        let public = Allowed::Within(Class::Public);
        assert!(
            refused(public, "127.0.0.1")
                && refused(public, "10.0.0.1")
                && refused(public, "169.254.169.254")
                && !refused(public, "8.8.8.8")
        );
        let loopback = Allowed::Within(Class::Loopback);
        assert!(
            !refused(loopback, "127.0.0.1")
                && refused(loopback, "10.0.0.1")
                && refused(loopback, "fe80::1")
                && !refused(loopback, "8.8.8.8")
        );
        let private = Allowed::Within(Class::Private);
        assert!(refused(private, "::1") && !refused(private, "10.0.0.1"));
        assert!(
            !refused(Allowed::Named, "127.0.0.1") && !refused(Allowed::Named, "10.0.0.1") && refused(Allowed::Named, "169.254.169.254")
        );
        assert!(refused(Allowed::LoopbackOnly, "8.8.8.8") && !refused(Allowed::LoopbackOnly, "::1"));
    }
}
