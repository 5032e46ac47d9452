//! Arbitrary messages at the SSH service, behind keys that were agreed on.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| serin_services::ssh::drive_messages(bytes));
