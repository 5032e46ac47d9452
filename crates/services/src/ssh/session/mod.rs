//! What an accepted login may ask for.

use std::sync::Arc;

use super::{Client, Face, Want};

/// The sessions of one connection.
pub(crate) struct Session;

#[allow(clippy::unused_self, reason = "the parts are joined one after the other")]
impl Session {
    /// For a user who was let in.
    pub(super) fn new(
        _face: Arc<Face>,
        _client: Arc<Client>,
        _account: &[u8],
        _wants: &mut Vec<Want>,
    ) -> Self {
        Self
    }

    /// Takes a message; false where the claimed server does not know it.
    pub(super) fn message(&mut self, _number: u8, _payload: &[u8], _wants: &mut Vec<Want>) -> bool {
        false
    }

    /// The connection is over.
    pub(super) fn closed(&mut self, _wants: &mut Vec<Want>) {}
}
