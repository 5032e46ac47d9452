//! Under which address a visited host is reported: replaced first, anonymised then.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::outputs::sharing::policy::AddressPolicy;

/// What stands for the addresses of our hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Translation {
    /// What is replaced; nothing given: whatever may not be told.
    pub(super) honeypot: Option<IpNet>,
    /// By what; IPv4 only.
    pub(super) replacement: Option<Ipv4Addr>,
    /// Of the result, what lies in here loses the bits outside of the mask.
    pub(super) anonymized: Option<IpNet>,
    pub(super) mask: Option<Ipv4Addr>,
    /// Of IPv6 addresses so many bits remain; 0: all.
    pub(super) prefix_v6: u8,
}

impl Translation {
    /// The address to report; `None`: there is none that may be told.
    pub(super) fn of(&self, address: IpAddr, policy: &AddressPolicy) -> Option<IpAddr> {
        let address = address.to_canonical();
        let replaced = match self.honeypot {
            Some(net) => net.contains(&address),
            None => !policy.may_name_target(address),
        };
        let told = match (address, self.replacement) {
            (IpAddr::V4(_), Some(replacement)) if replaced => IpAddr::V4(replacement),
            _ => address,
        };
        let told = match told {
            IpAddr::V4(it) if self.anonymized.is_some_and(|net| net.contains(&told)) => {
                IpAddr::V4(self.mask.map_or(it, |mask| it & mask))
            }
            IpAddr::V6(it) if self.prefix_v6 > 0 => {
                let kept = u128::MAX.checked_shl(128_u32.saturating_sub(self.prefix_v6.into())).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from(u128::from(it) & kept))
            }
            other => other,
        };
        policy.may_name_target(told).then_some(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(translation: &Translation, address: &str) -> Option<String> {
        let policy = AddressPolicy::for_documentation(&[], &[]);
        translation.of(address.parse().unwrap(), &policy).map(|it| it.to_string())
    }

    /// The same input and output as the reference client has.
    #[test]
    fn addresses_are_replaced_then_anonymised() {
        let it = Translation {
            honeypot: "10.0.0.0/8".parse().ok(),
            replacement: "198.51.100.9".parse().ok(),
            anonymized: "198.51.100.0/24".parse().ok(),
            mask: "255.255.255.0".parse().ok(),
            prefix_v6: 48,
        };
        assert_eq!(told(&it, "10.1.2.3").as_deref(), Some("198.51.100.0"));
        assert_eq!(told(&it, "203.0.113.7").as_deref(), Some("203.0.113.7"));
        assert_eq!(told(&it, "2001:db8:1:2::3").as_deref(), Some("2001:db8:1::"));
    }

    #[test]
    fn a_private_destination_never_leaves() {
        let plain = Translation::default();
        for private in
            ["10.0.0.1", "127.0.0.1", "192.168.1.1", "fe80::1", "fc00::1", "255.255.255.255", "224.0.0.1"]
        {
            assert_eq!(told(&plain, private), None, "{private}");
        }
        let replaced = Translation { replacement: "203.0.113.5".parse().ok(), ..Translation::default() };
        assert_eq!(told(&replaced, "10.0.0.1").as_deref(), Some("203.0.113.5"));
        assert_eq!(told(&replaced, "198.51.100.1").as_deref(), Some("198.51.100.1"), "it is public");
        assert_eq!(told(&replaced, "fc00::1"), None, "a private IPv6 address has no replacement");
        let elsewhere = Translation { honeypot: "172.16.0.0/12".parse().ok(), ..replaced };
        assert_eq!(told(&elsewhere, "10.0.0.1"), None, "outside of what is replaced");
    }
}
