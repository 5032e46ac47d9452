//! Ignore lists: `ip.ignorelist` and `logtype.ignorelist`, with OpenCanary's meaning.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde_json::Value;

/// What is dropped before it is recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ignore {
    nets: Vec<IpNet>,
    logtypes: Vec<u32>,
}

/// What became of one member of a list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Member<T> {
    /// It is in force.
    Taken(T),
    /// It can never match, and why.
    Idle(String),
    /// It is a mistake, and which.
    Wrong(String),
}

impl Ignore {
    /// Whether an event of this kind from this source is dropped. What has no source is dropped
    /// by kind only.
    #[must_use]
    pub fn drops(&self, source: Option<IpAddr>, logtype: u32) -> bool {
        let source = source.map(|it| it.to_canonical());
        self.logtypes.contains(&logtype)
            || source.is_some_and(|source| self.nets.iter().any(|it| it.contains(&source)))
    }

    /// Drops what comes from this network.
    pub(crate) fn net(&mut self, net: IpNet) {
        self.nets.push(net);
    }

    /// Drops events of this kind.
    pub(crate) fn logtype(&mut self, logtype: u32) {
        self.logtypes.push(logtype);
    }

    /// The networks that are dropped.
    pub fn nets(&self) -> impl Iterator<Item = &IpNet> {
        self.nets.iter()
    }

    /// The kinds that are dropped.
    pub fn logtypes(&self) -> impl Iterator<Item = u32> {
        self.logtypes.iter().copied()
    }
}

/// The members of a list; a plain string is taken as members with commas between, and anything
/// else as the only member. `None`: not a list.
pub(crate) fn members(value: &Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(list) => Some(list.clone()),
        Value::String(text) => {
            Some(text.split(',').map(str::trim).filter(|it| !it.is_empty()).map(Value::from).collect())
        }
        Value::Number(_) => Some(vec![value.clone()]),
        _ => None,
    }
}

/// Reads one member of `ip.ignorelist`.
pub(crate) fn net(member: &Value) -> Member<IpNet> {
    let text = match member {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_u64() => number.to_string(),
        other => return Member::Wrong(format!("wants addresses and networks, got {other}")),
    };
    let parts: Vec<_> = text.split('/').collect();
    let (address, prefix) = match parts.as_slice() {
        [address, prefix] => (*address, Some(*prefix)),
        [address, ..] => (*address, None),
        [] => ("", None),
    };
    let address = match address.trim().parse::<IpAddr>().map(|it| it.to_canonical()) {
        Ok(it) if !address.starts_with(char::is_whitespace) => it,
        _ => match aton(address) {
            Some(it) => IpAddr::V4(it),
            None => return Member::Idle(format!("{text:?} is no address and never matches")),
        },
    };
    let widest = if address.is_ipv4() { 32 } else { 128 };
    let Some(prefix) = prefix else {
        return Member::Taken(IpNet::from(address));
    };
    let Ok(length) = prefix.trim().parse::<i64>() else {
        return Member::Wrong(format!(
            "{text:?} wants a prefix length, such as {address}/{}, not a mask",
            mask_length(prefix).unwrap_or(24)
        ));
    };
    if length > widest {
        return Member::Idle(format!("{text:?} has a prefix longer than {widest} and never matches"));
    }
    // OpenCanary takes a negative prefix as "everything".
    let length = u8::try_from(length.max(0)).unwrap_or(0);
    let net = match address {
        IpAddr::V4(it) => Ipv4Net::new(it, length).map(IpNet::V4),
        IpAddr::V6(it) => Ipv6Net::new(it, length).map(IpNet::V6),
    };
    net.map_or_else(|_| Member::Idle(format!("{text:?} never matches")), |it| Member::Taken(it.trunc()))
}

/// The prefix length that a mask such as `255.0.0.0` stands for.
fn mask_length(mask: &str) -> Option<u8> {
    ipnet::ip_mask_to_prefix(mask.trim().parse().ok()?).ok()
}

/// An IPv4 address as C's `inet_aton` reads it: one to four parts, each decimal, octal or
/// hexadecimal, the last filling what is left; what follows a blank is not read.
fn aton(text: &str) -> Option<Ipv4Addr> {
    if text.starts_with(char::is_whitespace) {
        return None;
    }
    let text = text.split_ascii_whitespace().next()?;
    let parts: Vec<u32> = text.split('.').map(number).collect::<Option<_>>()?;
    let (last, heads) = parts.split_last()?;
    if heads.len() > 3 || heads.iter().any(|it| *it > 255) {
        return None;
    }
    let free = 32 - 8 * u32::try_from(heads.len()).ok()?;
    if u64::from(*last) >= 1u64 << free {
        return None;
    }
    let high = heads.iter().enumerate().fold(0u32, |sum, (index, it)| sum | it << (24 - 8 * index));
    Some(Ipv4Addr::from(high | last))
}

fn number(text: &str) -> Option<u32> {
    let (digits, radix) = if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        (hex, 16)
    } else if text.len() > 1 && text.starts_with('0') {
        (text, 8)
    } else {
        (text, 10)
    };
    if digits.starts_with('+') {
        return None;
    }
    u32::from_str_radix(digits, radix).ok()
}

/// Reads one member of `logtype.ignorelist`.
pub(crate) fn logtype(member: &Value) -> Member<u32> {
    match member.as_u64().and_then(|it| u32::try_from(it).ok()) {
        Some(it) => Member::Taken(it),
        None => match member {
            Value::String(text) if text.parse::<u32>().is_ok() => {
                Member::Idle(format!("{member} is a string and never matches; write {text}"))
            }
            _ => Member::Idle(format!("{member} is no logtype and never matches")),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn drops(member: &Value, source: &str) -> bool {
        let mut ignore = Ignore::default();
        match net(member) {
            Member::Taken(it) => ignore.net(it),
            other => panic!("{member}: {other:?}"),
        }
        ignore.drops(Some(source.parse().unwrap()), 2000)
    }

    #[test]
    fn networks_mean_what_they_mean_to_opencanary() {
        for (member, inside, outside) in [
            (json!("10.0.0.0/8"), "10.255.0.1", "11.0.0.0"),
            (json!("10.9.9.9/8"), "10.255.0.1", "11.0.0.0"),
            (json!("10.0.0.5"), "10.0.0.5", "10.0.0.6"),
            (json!("10.1/16"), "10.0.200.1", "10.1.0.1"),
            (json!("10/8"), "0.1.2.3", "10.0.0.1"),
            (json!("10.1"), "10.0.0.1", "10.1.0.0"),
            (json!("012.0.0.1"), "10.0.0.1", "12.0.0.1"),
            (json!("0x0a000001"), "10.0.0.1", "10.0.0.2"),
            (json!(167_772_161), "10.0.0.1", "10.0.0.2"),
            (json!("10.0.0.1 junk"), "10.0.0.1", "10.0.0.2"),
            (json!("10.0.0.1/32/5"), "10.0.0.1", "10.0.0.2"),
        ] {
            assert!(drops(&member, inside), "{member} {inside}");
            assert!(!drops(&member, outside), "{member} {outside}");
        }
        for everything in ["10.0.0.0/0", "10.0.0.0/-1"] {
            assert!(drops(&json!(everything), "192.0.2.1"), "{everything}");
        }
    }

    #[test]
    fn version_6_and_mapped_addresses_match() {
        assert!(drops(&json!("2001:db8::/32"), "2001:db8:1::1"));
        assert!(!drops(&json!("2001:db8::/32"), "2001:db9::1"));
        assert!(drops(&json!("::ffff:10.0.0.1"), "10.0.0.1"));
        assert!(drops(&json!("10.0.0.0/8"), "::ffff:10.0.0.1"));
    }

    #[test]
    fn what_cannot_match_or_is_wrong_is_told() {
        assert_eq!(
            net(&json!("10.0.0.0/33")),
            Member::Idle(r#""10.0.0.0/33" has a prefix longer than 32 and never matches"#.to_owned())
        );
        for never in [" 10.0.0.1", "office", "", "1.2.3.4.5", "256.1", "0x", "1.2.3.+4"] {
            let text = format!("{never:?} is no address and never matches");
            assert_eq!(net(&json!(never)), Member::Idle(text));
        }
        assert_eq!(
            net(&json!("10.0.0.0/255.0.0.0")),
            Member::Wrong(
                r#""10.0.0.0/255.0.0.0" wants a prefix length, such as 10.0.0.0/8, not a mask"#.to_owned()
            )
        );
        assert!(matches!(net(&json!("10.0.0.0/x")), Member::Wrong(_)));
        assert!(matches!(net(&json!(null)), Member::Wrong(_)));
    }

    #[test]
    fn kinds_are_dropped_by_number_alone() {
        let mut ignore = Ignore::default();
        assert_eq!(logtype(&json!(1001)), Member::Taken(1001));
        ignore.logtype(1001);
        assert!(ignore.drops(None, 1001) && !ignore.drops(None, 2000));
        let text = r#""1001" is a string and never matches; write 1001"#;
        assert_eq!(logtype(&json!("1001")), Member::Idle(text.to_owned()));
        assert!(matches!(logtype(&json!(1.5)), Member::Idle(_)));
    }

    #[test]
    fn a_list_may_be_a_string_with_commas() {
        assert_eq!(members(&json!("10.0.0.1, 10.0.0.2")), Some(vec![json!("10.0.0.1"), json!("10.0.0.2")]));
        assert_eq!(members(&json!(5)), Some(vec![json!(5)]));
        assert_eq!(members(&json!("")), Some(vec![]));
        assert_eq!(members(&json!({})), None);
    }
}
