//! Host keys: what a server proves its identity with.

/// The host keys of this installation.
#[derive(Debug, Clone, Default)]
pub struct HostKeys;
