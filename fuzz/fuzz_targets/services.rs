//! Arbitrary bytes at any service: the first byte chooses which.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, said)) = bytes.split_first() else { return };
    let services = serin_services::ALL;
    if let Some(service) = services.get(usize::from(first) % services.len().max(1)) {
        serin_services::replay::drive(service, said);
    }
});
