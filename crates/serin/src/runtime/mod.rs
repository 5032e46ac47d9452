//! The running sensor: sockets, conversations, recording, privileges.

pub(crate) mod certificates;
pub(crate) mod clock;
mod connection;
#[cfg(test)]
mod connection_tests;
pub(crate) mod control;
mod floods;
mod greeting;
mod heartbeat;
pub(crate) mod host_keys;
pub(crate) mod journal;
mod listener;
pub(crate) mod management;
pub(crate) mod metrics;
mod port;
pub(crate) mod privileges;
pub(crate) mod recorder;
pub(crate) mod running;
mod seats;
pub(crate) mod sensor;
mod stream;
mod teller;
mod tls;
