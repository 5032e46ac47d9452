//! Arbitrary text as a configuration, in either dialect: read, or refused with complaints.

#![no_main]

use std::io;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use serin::config::{Catalogue, Config, Environment};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let no_folders = |_: &Path| Err(io::Error::other("no folders here"));
    let read = Config::parse(Catalogue::whole(), Path::new("fuzz.conf"), text, &Environment::default(), &no_folders);
    if let Err(complaints) = read {
        assert!(!complaints.to_string().trim().is_empty(), "refused without a word");
    }
});
