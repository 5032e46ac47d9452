//! What a person is told of events: one incident for what belongs together, opened once, updated,
//! closed.

mod notice;

pub(crate) use notice::{Change, Notice, PASSWORDS, USERS, labels};
