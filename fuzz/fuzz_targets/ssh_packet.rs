//! Arbitrary bytes as SSH packets, clear and encrypted.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| serin_services::ssh::drive_packets(bytes));
