//! Which profile an identification asks for.

use super::{Distribution, Product, Profile, all};

/// What can be told from an identification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Claim {
    product: Product,
    distribution: Distribution,
    version: (u16, u16),
    /// None where the identification has none, or a newer one than any.
    revision: Option<u16>,
}

/// The server that an identification names, or the one most like it.
///
/// The same product first. Of OpenSSH, Red Hat's and Microsoft's keep to themselves; the others
/// differ by version more than by distribution, so that the newest which is not newer is taken, of
/// the same distribution where there are two. What is older than all gets the oldest; what is no
/// product known here gets the newest OpenSSH.
pub(super) fn nearest(identification: &str) -> &'static Profile {
    let claim = Claim::read(identification).unwrap_or(Claim {
        product: Product::OpenSsh,
        distribution: Distribution::Debian,
        version: (u16::MAX, 0),
        revision: None,
    });
    let alike = || all().filter(|it| it.product == claim.product && claim.may_be(it));
    let not_newer = alike().filter(|it| claim.rank(it) <= claim.own_rank()).max_by_key(|it| claim.rank(it));
    let oldest = || alike().min_by_key(|it| claim.rank(it));
    not_newer.or_else(oldest).unwrap_or_else(|| super::openssh::newest())
}

impl Claim {
    fn read(identification: &str) -> Option<Self> {
        let software = identification.strip_prefix("SSH-2.0-").or(identification.strip_prefix("SSH-1.99-"))?;
        let (software, comment) = software.split_once(' ').unwrap_or((software, ""));
        let lower = software.to_ascii_lowercase();
        if let Some(rest) = lower.strip_prefix("openssh_") {
            return Self::openssh(rest, comment);
        }
        let (product, rest) = if let Some(rest) = lower.strip_prefix("dropbear") {
            (Product::Dropbear, rest)
        } else {
            (Product::Cisco, lower.strip_prefix("cisco")?)
        };
        // Dropbear may be built without its version in the identification.
        let version = version(rest.trim_start_matches(['_', '-'])).unwrap_or((u16::MAX, 0));
        Some(Self { product, distribution: Distribution::Upstream, version, revision: None })
    }

    fn openssh(rest: &str, comment: &str) -> Option<Self> {
        let (windows, rest) = match rest.strip_prefix("for_windows_") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let version = version(rest)?;
        // Red Hat leaves the `p1` away, as everybody does whose distribution adds no comment: it is
        // known by the versions that it stays with for ten years.
        let red_hat = |it: &&Profile| it.distribution == Distribution::RedHat && it.version == version;
        let distribution = if windows {
            Distribution::Windows
        } else if comment.to_ascii_lowercase().contains("ubuntu") {
            Distribution::Ubuntu
        } else if comment.starts_with("Debian") || comment.starts_with("Raspbian") {
            Distribution::Debian
        } else if comment.is_empty() && all().any(|it| red_hat(&it)) {
            Distribution::RedHat
        } else {
            Distribution::Upstream
        };
        Some(Self { product: Product::OpenSsh, distribution, version, revision: revision(comment) })
    }

    /// Whether a profile is of the kind claimed.
    fn may_be(&self, profile: &Profile) -> bool {
        let apart = |it| matches!(it, Distribution::RedHat | Distribution::Windows);
        profile.distribution == self.distribution || !apart(profile.distribution) && !apart(self.distribution)
    }

    /// The order of profiles as seen from this claim: by version, then the same distribution, then
    /// its revisions. Another distribution's revisions say nothing: its last one counts.
    fn rank(&self, profile: &Profile) -> ((u16, u16), bool, u16) {
        (profile.version, profile.distribution == self.distribution, profile.revision)
    }

    fn own_rank(&self) -> ((u16, u16), bool, u16) {
        (self.version, true, self.revision.unwrap_or(u16::MAX))
    }
}

/// `9.2p1` is (9, 2), `2022.83` is (2022, 83), `6.6.1p1` is (6, 6).
fn version(text: &str) -> Option<(u16, u16)> {
    let (major, rest) = text.split_once('.')?;
    let end = rest.find(|it: char| !it.is_ascii_digit()).unwrap_or(rest.len());
    Some((major.parse().ok()?, rest.get(..end)?.parse().ok()?))
}

/// The last number of a package's version: 10 of `Debian-2+deb12u10`, 0 of `Ubuntu-3`, whose 3 is
/// what its later revisions build upon.
fn revision(comment: &str) -> Option<u16> {
    let package = comment.split(' ').next()?;
    let (_, version) = package.split_once('-')?;
    let digits = |it: char| it.is_ascii_digit();
    let head = version.trim_end_matches(digits);
    if head.is_empty() { Some(0) } else { version.get(head.len()..)?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_profile_is_what_its_own_identification_asks_for() {
        for profile in all() {
            assert_eq!(nearest(profile.identification).name, profile.name);
        }
    }

    #[test]
    fn what_is_not_known_gets_what_is_most_like_it() {
        for (identification, name) in [
            ("SSH-2.0-OpenSSH_9.3p1 Ubuntu-1ubuntu3.6", "OpenSSH 9.3p1, Ubuntu 23.10"),
            ("SSH-2.0-OpenSSH_5.1p1 Debian-4", "OpenSSH 5.1p1, Debian 5"),
            ("SSH-2.0-OpenSSH_5.3p1 Debian-3ubuntu7", "OpenSSH 5.1p1, Debian 5"),
            ("SSH-1.99-OpenSSH_4.3", "OpenSSH 5.1p1, Debian 5"),
            ("SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u7", "OpenSSH 9.2p1, Debian 12"),
            ("SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3", "OpenSSH 9.2p1, Debian 12 before 2025"),
            ("SSH-2.0-OpenSSH_9.2p1 Debian-2", "OpenSSH 9.2p1, Debian 12 before 2024"),
            ("SSH-2.0-OpenSSH_8.4p1 Raspbian-5+deb11u3", "OpenSSH 8.4p1, Debian 11"),
            ("SSH-2.0-OpenSSH_8.2p1 Ubuntu-4ubuntu0.2", "OpenSSH 8.2p1, Ubuntu 20.04 before 2024"),
            ("SSH-2.0-OpenSSH_8.2p1 Ubuntu-4ubuntu0.11", "OpenSSH 8.2p1, Ubuntu 20.04"),
            ("SSH-2.0-OpenSSH_9.0p1 Ubuntu-1ubuntu7.1", "OpenSSH 9.0"),
            ("SSH-2.0-OpenSSH_9.4 FreeBSD-20230719", "OpenSSH 9.3p1, Ubuntu 23.10"),
            ("SSH-2.0-OpenSSH_9.7", "OpenSSH 9.6"),
            ("SSH-2.0-OpenSSH_9.9p1 Ubuntu-3ubuntu3", "OpenSSH 9.9p1, Ubuntu 25.04"),
            ("SSH-2.0-OpenSSH_10.0p2 Debian-5", "OpenSSH 10.0p2, Debian 13"),
            ("SSH-2.0-OpenSSH_10.1p1 Ubuntu-1", "OpenSSH 10.0p2, Ubuntu 25.10"),
            ("SSH-2.0-OpenSSH_11.1", "OpenSSH 10.6p1, Debian sid"),
            ("SSH-2.0-OpenSSH_7.4", "OpenSSH 7.4p1, CentOS 7"),
            ("SSH-2.0-OpenSSH_7.4p1 Debian-10+deb9u3", "OpenSSH 7.4p1, Debian 9"),
            ("SSH-2.0-OpenSSH_8.7", "OpenSSH 8.7p1, Red Hat Enterprise Linux 9"),
            ("SSH-2.0-OpenSSH_for_Windows_7.7", "OpenSSH 8.1, Windows Server 2022"),
            ("SSH-2.0-OpenSSH_for_Windows_10.0", "OpenSSH 9.5, Windows Server 2025"),
            ("SSH-2.0-dropbear_2022.82", "Dropbear 2020.81, Debian 11"),
            ("SSH-2.0-dropbear_2012.55", "Dropbear 2019.78"),
            ("SSH-2.0-dropbear", "Dropbear 2026.94, Debian sid"),
            ("SSH-1.99-Cisco-1.25", "Cisco IOS 15"),
            ("SSH-2.0-Cisco-2.0", "Cisco IOS 15"),
            ("SSH-2.0-libssh_0.10", "OpenSSH 10.6p1, Debian sid"),
            ("SSH-2.0-OpenSSH_", "OpenSSH 10.6p1, Debian sid"),
            ("", "OpenSSH 10.6p1, Debian sid"),
        ] {
            assert_eq!(nearest(identification).name, name, "{identification:?}");
        }
    }

    #[test]
    fn the_default_has_a_profile_of_its_own() {
        let default = crate::ssh::Settings::read(&crate::Conf::new()).unwrap().version;
        assert_eq!(nearest(&default).identification, default);
    }
}
