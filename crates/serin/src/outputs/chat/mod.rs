//! Chats, push services and pagers: each takes a card in its own dress.

pub(super) mod slack;
mod webhook;
