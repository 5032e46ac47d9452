//! Chats: each takes a card in its own dress.

pub(super) mod slack;
