//! Whose addresses may be told to the world. One policy for every output that shares.
//!
//! There is no setting that weakens it: documentation ranges pass only where a test hands in a policy
//! that says so.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde_json::{Value, json};
use serin_event::{Intent, Kind, Record, kinds};
use serin_services::conf::{Complaint, Conf, Key, Setting};
use serin_services::settings;

use crate::config::ignore::{self, Member};
use crate::ignore::is_suppressed;
use crate::outputs::delivery::Names;

settings! { "sharing" {
    /// Networks of your own administrators and scanners; what comes from there is never told to others.
    admin_nets: Nets = Nets::default();
    /// The address under which the world sees this sensor; it is never reported as an attacker's.
    public_address: Address = Address(None);
} }

/// The settings of every output that shares.
pub(crate) const KEYS: &[Key] = Settings::KEYS;

/// Where the loader puts `ip.ignorelist`: known to no configuration file under this name.
pub(crate) const IGNORED: &str = "sharing.ignorelist";

/// Where the loader puts the services that have hashed bait.
pub(crate) const BAITED: &str = "sharing.baited";

/// Stands for all services there.
pub(crate) const EVERYWHERE: &str = "*";

/// Networks as a setting.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Nets(pub(crate) Vec<IpNet>);

impl Setting for Nets {
    const WANTS: &'static str = "a list of addresses and networks";

    fn read(value: &Value) -> Result<Self, ()> {
        let members = value.as_array().ok_or(())?;
        let taken = |it: &Value| match ignore::net(it) {
            Member::Taken(net) => Ok(net),
            Member::Idle(_) | Member::Wrong(_) => Err(()),
        };
        members.iter().map(taken).collect::<Result<_, ()>>().map(Self)
    }

    fn show(&self) -> Value {
        json!(self.0.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    fn schema() -> Value {
        json!({ "type": "array", "items": { "type": "string" } })
    }
}

/// One address as a setting; empty for none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Address(pub(crate) Option<IpAddr>);

impl Setting for Address {
    const WANTS: &'static str = "an address, or nothing";

    fn read(value: &Value) -> Result<Self, ()> {
        let text = value.as_str().ok_or(())?.trim();
        if text.is_empty() { Ok(Self(None)) } else { text.parse().map(|it| Self(Some(it))).map_err(|_| ()) }
    }

    fn show(&self) -> Value {
        json!(self.0.map(|it| it.to_string()).unwrap_or_default())
    }

    fn schema() -> Value {
        json!({ "type": "string" })
    }
}

/// Why an address is not told to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Why {
    /// Not known.
    Unknown,
    /// Private, local, or otherwise of no meaning to others.
    NotGlobal,
    /// For documentation only.
    Documentation,
    /// Of this host, or the public address it has.
    Own,
    /// The operator ignores it.
    Ignored,
    /// A rule of the operator's says that nobody is to be alerted to it.
    Suppressed,
    /// An administrator's.
    Admin,
    /// A resolver or time server of ours, whose answers look like visits.
    Resolver,
    /// The sensor tested itself.
    SelfTest,
    /// The credentials are bait that the operator laid out: perhaps a test of the operator's own.
    Bait,
    /// The credentials may be bait: there was no time to compute its hash.
    Unchecked,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "address unknown",
            Self::NotGlobal => "private or special address",
            Self::Documentation => "documentation address",
            Self::Own => "own address",
            Self::Ignored => "in ip.ignorelist",
            Self::Suppressed => "suppressed by an ignore rule",
            Self::Admin => "in admin_nets",
            Self::Resolver => "own resolver or time server",
            Self::SelfTest => "own self-test",
            Self::Bait => "bait credentials",
            Self::Unchecked => "credentials not checked for bait",
        })
    }
}

/// The policy of one output.
#[derive(Debug, Clone, Default)]
pub(crate) struct AddressPolicy {
    documentation: bool,
    own: Vec<IpAddr>,
    ignored: Vec<IpNet>,
    admins: Vec<IpNet>,
    resolvers: Vec<IpAddr>,
    /// Services with hashed bait.
    baited: Vec<String>,
}

impl AddressPolicy {
    /// As the settings of an output want it, on this host.
    ///
    /// # Errors
    ///
    /// What is wrong with the settings.
    pub(crate) fn new(conf: &Conf) -> Result<Self, Vec<Complaint>> {
        let settings = Settings::read(conf)?;
        let mut own = own_addresses();
        own.extend(settings.public_address.0.map(|it| it.to_canonical()));
        let ignored = conf.get(IGNORED).and_then(|it| Nets::read(it).ok()).unwrap_or_default().0;
        let baited = conf.get(BAITED).and_then(|it| Names::read(it).ok()).unwrap_or_default().0;
        let (documentation, admins, resolvers) = (false, settings.admin_nets.0, resolvers());
        Ok(Self { documentation, own, ignored, admins, resolvers, baited })
    }

    /// A policy without a host that takes documentation addresses for public ones.
    #[cfg(test)]
    pub(crate) fn for_documentation(admins: &[&str], own: &[&str]) -> Self {
        Self {
            documentation: true,
            own: own.iter().map(|it| it.parse().unwrap()).collect(),
            admins: admins.iter().map(|it| it.parse().unwrap()).collect(),
            ..Self::default()
        }
    }

    /// Whether this may be told to others as somebody's address.
    ///
    /// # Errors
    ///
    /// Why not.
    pub(crate) fn reportable(&self, address: IpAddr) -> Result<(), Why> {
        let address = unwrapped(address);
        let within = |nets: &[IpNet]| nets.iter().any(|it| it.contains(&address));
        if within(&self.admins) {
            Err(Why::Admin)
        } else if within(&self.ignored) {
            Err(Why::Ignored)
        } else if self.is_own(address) {
            Err(Why::Own)
        } else if is_documentation(address) {
            if self.documentation { Ok(()) } else { Err(Why::Documentation) }
        } else if is_special(address) {
            Err(Why::NotGlobal)
        } else {
            Ok(())
        }
    }

    /// Whether the source of this event may be told to others: [`AddressPolicy::reportable`], and
    /// nothing of our own.
    ///
    /// # Errors
    ///
    /// Why not.
    pub(crate) fn source(&self, record: &Record) -> Result<IpAddr, Why> {
        if record.is_selftest() {
            return Err(Why::SelfTest);
        }
        if record.honeycred == Some(true) {
            return Err(Why::Bait);
        }
        if record.honeycred.is_none() && self.may_be_bait(record.kind) {
            return Err(Why::Unchecked);
        }
        if is_suppressed(record) {
            return Err(Why::Suppressed);
        }
        let address = record.source.host.ok_or(Why::Unknown)?;
        self.reportable(address)?;
        if protocol(record) == UDP && self.resolvers.contains(&unwrapped(address)) {
            return Err(Why::Resolver);
        }
        Ok(unwrapped(address))
    }

    /// Whether an event of this kind tells credentials at a service where bait is known by its hash only.
    fn may_be_bait(&self, kind: &Kind) -> bool {
        let here =
            |it: &String| it == EVERYWHERE || it == kind.service || (it == "https" && kind.service == "http");
        let credentials = || ["USERNAME", "PASSWORD"].into_iter().any(|it| kind.declares(it));
        self.baited.iter().any(here) && credentials()
    }

    /// Whether this is an address of this host, or the public one it has.
    pub(crate) fn is_own(&self, address: IpAddr) -> bool {
        self.own.contains(&unwrapped(address))
    }

    /// Whether this may be told as the address of the host that was visited: it must not be private,
    /// but may well be ours.
    pub(crate) fn may_name_target(&self, address: IpAddr) -> bool {
        let address = unwrapped(address);
        if is_documentation(address) { self.documentation } else { !is_special(address) }
    }
}

/// TCP's number at IANA.
pub(crate) const TCP: u8 = 6;
/// UDP's number at IANA.
pub(crate) const UDP: u8 = 17;

/// IANA's number of the protocol of an event; 0 where the packet's protocol has no known number.
pub(crate) fn protocol(record: &Record) -> u8 {
    let seen = || {
        let fields: Value = serde_json::from_str(&record.logdata).unwrap_or_default();
        let text = fields.get("PROTO").map(|it| it.as_str().map_or_else(|| it.to_string(), str::to_owned));
        match text.unwrap_or_default().to_ascii_uppercase().as_str() {
            "TCP" | "6" => TCP,
            "UDP" | "17" => UDP,
            "ICMP" | "1" => 1,
            "IGMP" | "2" => 2,
            "ESP" | "50" => 50,
            "AH" | "51" => 51,
            "ICMPV6" | "58" => 58,
            _ => 0,
        }
    };
    match record.kind.service {
        "portscan" if record.kind.logtype == 5001 => seen(),
        "tftp" | "ntp" | "snmp" | "sip" | "llmnr" => UDP,
        _ => TCP,
    }
}

/// Whether the source has shown that its address is its own, by a whole handshake of TCP: without that
/// anybody may have written the address into the packet, and nobody must be accused.
pub(crate) fn is_accusable(record: &Record) -> bool {
    let kind = record.kind;
    let of_modules = kind.logtype >= kinds::USER_0.logtype;
    let counted = kind.name == kinds::CONNECTION_FLOOD.name;
    kind.intent != Intent::Housekeeping
        && !["portscan", "llmnr"].contains(&kind.service)
        && !of_modules
        && !counted
        && protocol(record) == TCP
}

/// The service that was visited; of kinds that all services share, the one that the event names.
pub(crate) fn service(record: &Record) -> String {
    if record.kind.service != kinds::CONNECTION_TOUCHED.service {
        return record.kind.service.to_owned();
    }
    let fields: Value = serde_json::from_str(&record.logdata).unwrap_or_default();
    fields.get("SERVICE").and_then(Value::as_str).unwrap_or(record.kind.service).to_owned()
}

/// An IPv4 address that was wrapped into IPv6, for itself.
fn unwrapped(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        // 64:ff9b::/96, RFC 6052.
        IpAddr::V6(it) if it.segments().starts_with(&[0x64, 0xff9b, 0, 0, 0, 0]) => {
            let [.., a, b, c, d] = it.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        other => other,
    }
}

fn is_documentation(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(it) => {
            matches!(it.octets(), [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _])
        }
        // RFC 3849 and RFC 9637.
        IpAddr::V6(it) => {
            matches!(it.segments(), [0x2001, 0xdb8, ..]) || matches!(it.segments(), [0x3fff, 0..=0xfff, ..])
        }
    }
}

/// Addresses that mean nothing to others. RFC 6890 and its registries.
fn is_special(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(it) => matches!(
            it.octets(),
            [0 | 10 | 127 | 224..=255, ..]
                | [100, 64..=127, ..]
                | [169, 254, ..]
                | [172, 16..=31, ..]
                | [192, 0, 0, _]
                | [192, 168, ..]
                | [198, 18..=19, ..]
        ),
        IpAddr::V6(it) => {
            it == Ipv6Addr::UNSPECIFIED
                || it == Ipv6Addr::LOCALHOST
                || matches!(it.segments(), [0x100, 0, 0, 0, ..] | [0xfc00..=0xfdff | 0xfe80..=0xfebf | 0xff00.., ..])
        }
    }
}

/// All addresses of this host.
fn own_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let addresses = interfaces.filter_map(|it| {
        let address = it.address?;
        let v4 = address.as_sockaddr_in().map(|it| IpAddr::V4(it.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|it| IpAddr::V6(it.ip())))
    });
    addresses.map(|it| it.to_canonical()).collect()
}

/// The resolvers and time servers that this host is told to ask, where they are given as addresses.
fn resolvers() -> Vec<IpAddr> {
    let files =
        ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf", "/etc/ntp.conf", "/etc/chrony/chrony.conf"];
    files.iter().filter_map(|it| std::fs::read_to_string(it).ok()).flat_map(|it| named_servers(&it)).collect()
}

fn named_servers(text: &str) -> Vec<IpAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        let known = matches!(words.next()?, "nameserver" | "server" | "peer" | "pool");
        if known { words.next()?.parse().ok() } else { None }
    };
    text.lines().filter_map(server).collect()
}

#[cfg(test)]
mod tests {
    use serin_event::{Endpoint, Event, Timestamp, kinds};

    use super::*;

    fn why(policy: &AddressPolicy, address: &str) -> Result<(), Why> {
        policy.reportable(address.parse().unwrap())
    }

    #[test]
    fn nothing_that_is_not_global_is_ever_reportable() {
        for policy in [AddressPolicy::default(), AddressPolicy::for_documentation(&[], &[])] {
            for address in [
                "0.0.0.0",
                "0.255.255.255",
                "10.0.0.1",
                "100.64.0.1",
                "100.127.255.255",
                "127.0.0.1",
                "127.255.255.255",
                "169.254.169.254",
                "172.16.0.1",
                "172.31.255.255",
                "192.0.0.8",
                "192.168.255.255",
                "198.18.0.1",
                "198.19.255.255",
                "224.0.0.1",
                "239.255.255.255",
                "240.0.0.1",
                "255.255.255.255",
                "::",
                "::1",
                "::ffff:10.0.0.1",
                "::ffff:127.0.0.1",
                "64:ff9b::192.168.1.1",
                "64:ff9b::a00:1",
                "100::1",
                "fc00::1",
                "fdff::1",
                "fe80::1",
                "febf::1",
                "ff02::1",
                "ffff::1",
            ] {
                assert_eq!(why(&policy, address), Err(Why::NotGlobal), "{address}");
            }
        }
    }

    #[test]
    fn neighbours_of_the_special_ranges_are_reportable() {
        for address in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "::ffff:192.169.0.0",
            "64:ff9b::c0a9:0",
            "2001:db9::",
            "2001:db7:ffff::",
            "2620:fe::fe",
            "100:0:0:1::",
            "3fff:1000::1",
        ] {
            assert_eq!(why(&AddressPolicy::default(), address), Ok(()), "{address}");
        }
    }

    #[test]
    fn documentation_passes_only_where_a_test_says_so() {
        for address in
            ["192.0.2.1", "198.51.100.255", "203.0.113.7", "2001:db8::1", "3fff:fff::1", "::ffff:192.0.2.1"]
        {
            assert_eq!(why(&AddressPolicy::default(), address), Err(Why::Documentation), "{address}");
            assert_eq!(why(&AddressPolicy::for_documentation(&[], &[]), address), Ok(()), "{address}");
        }
    }

    #[test]
    fn what_is_ours_is_never_reported() {
        let mut conf = Conf::new();
        conf.set("sharing.admin_nets", json!(["1.2.3.0/24", "2a00::/16"]));
        conf.set("sharing.public_address", "5.6.7.8");
        conf.set(IGNORED, json!(["9.9.0.0/16"]));
        let policy = AddressPolicy::new(&conf).unwrap();
        for (address, reason) in [
            ("1.2.3.4", Why::Admin),
            ("::ffff:1.2.3.4", Why::Admin),
            ("2a00:1::1", Why::Admin),
            ("5.6.7.8", Why::Own),
            ("9.9.9.9", Why::Ignored),
        ] {
            assert_eq!(why(&policy, address), Err(reason), "{address}");
        }
        assert_eq!(why(&policy, "1.2.4.4"), Ok(()));
        assert!(policy.own.contains(&"127.0.0.1".parse().unwrap()), "this host's own: {:?}", policy.own);
        conf.set("sharing.admin_nets", json!(["office"]));
        assert_eq!(AddressPolicy::new(&conf).unwrap_err().len(), 1);
    }

    #[test]
    fn resolvers_are_left_out_where_addresses_prove_nothing() {
        let found = named_servers(
            "# nameserver 1.1.1.1\nnameserver 9.9.9.9\nsearch example\nserver ntp.example\nserver 1.2.3.4 iburst\n",
        );
        assert_eq!(found, ["9.9.9.9".parse::<IpAddr>().unwrap(), "1.2.3.4".parse().unwrap()]);
        let policy = AddressPolicy { resolvers: found, ..AddressPolicy::default() };
        let of = |kind| {
            let record = Record::of(&Event::new(kind), Timestamp(0), 0, "node");
            let source = Endpoint { host: "9.9.9.9".parse().ok(), port: Some(53) };
            policy.source(&Record { source, ..record })
        };
        assert_eq!(of(&kinds::SNMP_REQUEST), Err(Why::Resolver));
        assert_eq!(of(&kinds::FTP_LOGIN), Ok("9.9.9.9".parse().unwrap()));
    }

    #[test]
    fn what_may_be_bait_is_kept_back_until_that_is_known() {
        let mut conf = Conf::new();
        conf.set(BAITED, json!(["ssh", "https"]));
        let policy = AddressPolicy::new(&conf).unwrap();
        let told = |kind, honeycred| {
            let source = Endpoint { host: "1.2.3.4".parse().ok(), port: None };
            let record = Record::of(&Event::new(kind), Timestamp(0), 0, "node");
            policy.source(&Record { source, honeycred, ..record }).err()
        };
        assert_eq!(told(&kinds::SSH_LOGIN, None), Some(Why::Unchecked));
        assert_eq!(told(&kinds::HTTP_LOGIN, None), Some(Why::Unchecked));
        assert_eq!(told(&kinds::SSH_LOGIN, Some(false)), None);
        assert_eq!(told(&kinds::SSH_LOGIN, Some(true)), Some(Why::Bait));
        assert_eq!((told(&kinds::FTP_LOGIN, None), told(&kinds::SSH_CONNECTION, None)), (None, None));
        conf.set(BAITED, json!([EVERYWHERE]));
        let policy = AddressPolicy::new(&conf).unwrap();
        assert!(policy.may_be_bait(&kinds::FTP_LOGIN) && !policy.may_be_bait(&kinds::HTTP_GET));
    }

    #[test]
    fn only_a_handshake_proves_who_somebody_is() {
        let of = |event: &Event| Record::of(event, Timestamp(0), 0, "node");
        for kind in [&kinds::SSH_LOGIN, &kinds::HTTP_GET, &kinds::CONNECTION_TOUCHED, &kinds::SSH_CONNECTION]
        {
            assert!(is_accusable(&of(&Event::new(kind))), "{}", kind.name);
        }
        for kind in [
            &kinds::PORTSCAN_SYN,
            &kinds::SNMP_REQUEST,
            &kinds::SIP_REQUEST,
            &kinds::LLMNR_RESPONSE,
            &kinds::CONNECTION_FLOOD,
            &kinds::USER_0,
            &kinds::PING,
            &kinds::INCIDENT_HIGH,
        ] {
            assert!(!is_accusable(&of(&Event::new(kind))), "{}", kind.name);
        }
        assert_eq!(service(&of(&Event::new(&kinds::CONNECTION_TOUCHED).with("SERVICE", "redis"))), "redis");
        assert_eq!(service(&of(&Event::new(&kinds::SSH_LOGIN))), "ssh");
    }

    #[test]
    fn our_own_tests_are_no_attacks() {
        let policy = AddressPolicy::default();
        let source = Endpoint { host: "1.2.3.4".parse().ok(), port: None };
        let record = Record { source, ..Record::of(&Event::new(&kinds::FTP_LOGIN), Timestamp(0), 0, "node") };
        assert_eq!(policy.source(&record), Ok("1.2.3.4".parse().unwrap()));
        assert_eq!(policy.source(&Record { honeycred: Some(true), ..record.clone() }), Err(Why::Bait));
        assert_eq!(
            policy.source(&Record { source: Endpoint::default(), ..record.clone() }),
            Err(Why::Unknown)
        );
        let mut harmless = record.clone();
        crate::ignore::note(&mut harmless, "backup", crate::ignore::Action::Suppress);
        assert_eq!(policy.source(&harmless), Err(Why::Suppressed));
        let mut test = record;
        test.add_detail(serin_event::SELFTEST, json!(1));
        assert_eq!(policy.source(&test), Err(Why::SelfTest));
    }
}
