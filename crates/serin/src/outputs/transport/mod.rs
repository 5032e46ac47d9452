//! How outputs reach receivers over the network: time limits, TLS, and whom a test may talk to.

pub(crate) mod datagrams;
pub(crate) mod http;
pub(crate) mod sender;
pub(crate) mod stream;
pub(crate) mod tls;

use std::net::IpAddr;
use std::time::Duration;

/// A connection must be there within this time.
pub(crate) const CONNECT: Duration = Duration::from_secs(5);

/// Whether this process may talk to nobody but this machine: set in tests, so that no test alerts
/// anybody or reports anything to the world.
pub(crate) fn loopback_only() -> bool {
    std::env::var_os("SERIN_TEST").is_some_and(|it| it == "1")
}

/// Whether this address may be contacted.
///
/// # Errors
///
/// Why not.
pub(crate) fn may_reach(address: IpAddr) -> Result<(), String> {
    if loopback_only() && !address.to_canonical().is_loopback() {
        return Err(format!("SERIN_TEST=1 forbids to contact {address}: only this machine may be"));
    }
    Ok(())
}
