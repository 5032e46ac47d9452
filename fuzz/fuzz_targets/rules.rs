//! Arbitrary bytes as a rule file: read to the end, whatever is wrong said with its place.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serin_detect::rule::Ref;
use serin_detect::{Options, Pack};

fuzz_target!(|bytes: &[u8]| {
    let pack = Pack::read([("fuzz.yml", bytes)], &Options::default());
    for refusal in &pack.refused {
        assert!(
            !refusal.why.trim().is_empty() && refusal.place.line > 0,
            "refused without a word: {refusal}"
        );
    }
    for (at, correlation) in pack.correlations.iter().enumerate() {
        let known = |it: &Ref| pack.meta(*it).is_some() && *it < Ref::Correlation(at);
        assert!(correlation.rules.iter().all(known), "refers to nothing before it");
    }
});
