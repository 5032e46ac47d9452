//! Real clients against the real binary: how each ends, and what the log then holds.
//!
//! Logic is proved by the replayed sessions; here is proved that strangers believe us and that
//! nothing between the socket and the log file gets in the way.

mod benign;
mod captured;
mod commands;
mod crash;
mod detections;
mod detectors;
mod files;
mod ignore;
mod incidents;
mod operator;
mod outputs;
mod privileges;
mod rude;
mod selftest;
mod ssh;
mod strangers_files;
mod strangers_web;
