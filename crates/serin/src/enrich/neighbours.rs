//! Hardware addresses of neighbours, from the kernel's table, and who made them. IPv4 alone: the kernel
//! shows the table of IPv6 through netlink only.

use std::collections::HashMap;
use std::fs;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Map, Value as Json};

/// Where other programs keep lists of vendors.
pub(crate) const VENDOR_FILES: [&str; 4] = [
    "/usr/share/ieee-data/oui.txt",
    "/var/lib/ieee-data/oui.txt",
    "/usr/share/nmap/nmap-mac-prefixes",
    "/usr/share/wireshark/manuf",
];

/// The kernel's table, and the vendors.
pub(super) struct Neighbours {
    table: HashMap<IpAddr, String>,
    /// When the table was read.
    read: Option<Instant>,
    files: Vec<PathBuf>,
    /// Read when the first neighbour is found.
    vendors: Option<HashMap<u32, Box<str>>>,
}

impl Neighbours {
    /// Vendors from `file`, else from wherever there are some.
    pub(super) fn new(file: &str) -> Self {
        let files =
            if file.is_empty() { VENDOR_FILES.map(PathBuf::from).to_vec() } else { vec![file.into()] };
        Self { table: HashMap::new(), read: None, files, vendors: None }
    }

    /// `mac` and `vendor` of a neighbour.
    pub(super) fn about(&mut self, address: IpAddr) -> Map<String, Json> {
        if self.read.is_none_or(|it| it.elapsed() > FRESH_FOR) {
            self.table = parse_table(&read(Path::new("/proc/net/arp"), TABLE_MAX));
            self.read = Some(Instant::now());
        }
        let mut facts = Map::new();
        let Some(mac) = self.table.get(&address) else { return facts };
        facts.insert("mac".to_owned(), mac.as_str().into());
        let files = &self.files;
        let vendors = self.vendors.get_or_insert_with(|| {
            files
                .iter()
                .map(|it| parse_vendors(&read(it, VENDORS_MAX)))
                .find(|it| !it.is_empty())
                .unwrap_or_default()
        });
        if let Some(vendor) = prefix(mac).and_then(|it| vendors.get(&it)) {
            facts.insert("vendor".to_owned(), vendor.as_ref().into());
        }
        facts
    }
}

/// The text of a file up to so many bytes; nothing, where it cannot be read.
fn read(path: &Path, most: u64) -> String {
    let mut bytes = Vec::new();
    let _ = fs::File::open(path).and_then(|it| it.take(most).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `/proc/net/arp`: address, hardware type, flags, hardware address, mask, device. proc(5).
fn parse_table(text: &str) -> HashMap<IpAddr, String> {
    let entry = |line: &str| {
        let mut columns = line.split_whitespace();
        let address = columns.next()?.parse().ok()?;
        let mac = columns.nth(2)?.to_ascii_lowercase();
        let known = mac.len() == "00:00:00:00:00:00".len() && mac != "00:00:00:00:00:00";
        known.then_some((address, mac))
    };
    text.lines().skip(1).filter_map(entry).take(NEIGHBOURS_MAX).collect()
}

/// Lines of oui.txt (`00-00-0C   (hex) Cisco`), of nmap (`00000C Cisco`) or of Wireshark (`00:00:0C`, a
/// short name and a long one, with tabs between).
fn parse_vendors(text: &str) -> HashMap<u32, Box<str>> {
    let entry = |line: &str| {
        let (first, rest) = line.trim().split_once(char::is_whitespace)?;
        let rest = rest.trim().strip_prefix("(hex)").unwrap_or(rest).trim();
        if rest.starts_with("(base 16)") {
            return None;
        }
        let name = rest.rsplit('\t').next().unwrap_or(rest).trim();
        let name: String = name.chars().filter(|it| !it.is_control()).take(VENDOR_MAX).collect();
        (!name.is_empty()).then_some((whole_prefix(first)?, name.into_boxed_str()))
    };
    text.lines().filter_map(entry).collect()
}

/// Three bytes and nothing else: longer prefixes are parts of a vendor's range.
fn whole_prefix(text: &str) -> Option<u32> {
    let digits: String = text.chars().filter(|it| !"-:.".contains(*it)).collect();
    (digits.len() == 6).then(|| u32::from_str_radix(&digits, 16).ok())?
}

/// The vendor's part of a hardware address; none, where it was made up (the local bit).
fn prefix(mac: &str) -> Option<u32> {
    const LOCAL: u32 = 0x02_0000;
    whole_prefix(mac.get(..8)?).filter(|it| it & LOCAL == 0)
}

/// How long the table counts.
const FRESH_FOR: Duration = Duration::from_secs(5);
const NEIGHBOURS_MAX: usize = 16_384;
/// Bytes.
const TABLE_MAX: u64 = 4 << 20;
/// Bytes: the IEEE's file has six million.
const VENDORS_MAX: u64 = 32 << 20;
/// Characters.
const VENDOR_MAX: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read_without_what_is_incomplete() {
        let table = parse_table(
            "IP address       HW type     Flags       HW address            Mask     Device\n\
             10.0.0.5         0x1         0x2         00:00:0C:aa:bb:cc     *        eth0\n\
             10.0.0.6         0x1         0x0         00:00:00:00:00:00     *        eth0\nodd\n",
        );
        assert_eq!(table.len(), 1);
        assert_eq!(table[&"10.0.0.5".parse::<IpAddr>().unwrap()], "00:00:0c:aa:bb:cc");
    }

    #[test]
    fn vendors_are_known_from_each_programs_file() {
        for text in [
            "OUI/MA-L\tOrganization\n00-00-0C   (hex)\t\tCisco Systems\n",
            "# nmap\n00000C Cisco Systems\n",
            "00:00:0C\tCisco\tCisco Systems\n00:00:0C:10:00:00/28\tOther\tOther\n",
        ] {
            let vendors = parse_vendors(text);
            let found = vendors.get(&prefix("00:00:0c:aa:bb:cc").unwrap()).unwrap();
            assert!(found.contains("Cisco Systems"), "{found}");
        }
        assert_eq!(prefix("02:00:00:aa:bb:cc"), None, "made up");
    }
}
