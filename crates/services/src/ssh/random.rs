//! Random bytes of one connection: cookies, padding, ephemeral keys.

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng as _, SeedableRng as _};

/// A cryptographic generator that starts from [`Opening::secret`](crate::dialogue::Opening::secret),
/// so that a replay draws what the recording drew.
pub(crate) struct Random(ChaCha20Rng);

impl Random {
    /// The generator of a connection with this secret.
    pub(crate) fn new(secret: [u8; 32]) -> Self {
        Self(ChaCha20Rng::from_seed(secret))
    }

    /// Fills `bytes`.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    /// So many bytes.
    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// For crates that draw for themselves.
    pub(crate) fn source(&mut self) -> &mut ChaCha20Rng {
        &mut self.0
    }
}
