//! Reverse DNS through the system's resolver, so that /etc/hosts and what else the host is set up with
//! count.

use std::net::IpAddr;

/// The name of an address, where it has one. Waits for name servers, as long as the system does.
pub(super) fn of(address: IpAddr) -> Option<String> {
    let name = dns_lookup::lookup_addr(&address).ok()?;
    plain(&name)
}

/// A name as it may be shown. Whoever owns an address owns its name: what is no host name (RFC 1123,
/// section 2.1; and underscores, which occur) is none.
fn plain(name: &str) -> Option<String> {
    let name = name.trim_end_matches('.');
    let fits = |it: char| it.is_ascii_alphanumeric() || "-._".contains(it);
    // Without a name, the resolver gives the address itself.
    let is_name = !name.is_empty() && name.len() <= NAME_MAX && name.chars().all(fits);
    (is_name && name.parse::<IpAddr>().is_err()).then(|| name.to_owned())
}

/// RFC 1035, section 2.3.4.
const NAME_MAX: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_host_names_are_names() {
        assert_eq!(plain("laptop-7.example.net."), Some("laptop-7.example.net".to_owned()));
        for hostile in ["", ".", "10.0.0.5", "a b", "<script>", "x\u{1b}[31m", "é", &"a".repeat(254)] {
            assert_eq!(plain(hostile), None, "{hostile:?}");
        }
    }
}
