//! Chats, push services and pagers: each takes a card in its own dress.

mod attachment;
pub(super) mod discord;
pub(super) mod googlechat;
pub(super) mod mattermost;
pub(super) mod ntfy;
pub(super) mod pagerduty;
pub(super) mod pushover;
pub(super) mod rocketchat;
pub(super) mod slack;
pub(super) mod teams;
pub(super) mod telegram;
#[cfg(test)]
mod tests;
mod webhook;
