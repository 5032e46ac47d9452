//! What the fuzz targets do, in small and always the same, on the stable toolchain: every recorded
//! session cut, spliced and overwritten at random places, and played at every service.

use std::io;
use std::path::Path;

use serin::config::{Catalogue, Config, Environment};
use serin_services::replay::{client_bytes, drive, sessions_of};

/// Changed sessions played at each service; `SERIN_FUZZ_RUNS` asks for more.
const RUNS: u32 = 6000;
/// Longest input.
const LONGEST: usize = 4096;

/// xorshift64*: small, seeded, and good enough to choose places with.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let wide = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(wide).unwrap_or(0) % sides.max(1)
    }
}

#[test]
fn no_changed_session_breaks_what_must_hold_of_every_service() {
    let runs = std::env::var("SERIN_FUZZ_RUNS").ok().and_then(|it| it.parse().ok()).unwrap_or(RUNS);
    let everything: Vec<Vec<u8>> = serin_services::ALL
        .iter()
        .flat_map(|it| sessions_of(it.name))
        .map(|(_, text)| client_bytes(&text))
        .collect();
    for (at, service) in serin_services::ALL.iter().enumerate() {
        let own: Vec<Vec<u8>> =
            sessions_of(service.name).iter().map(|(_, text)| client_bytes(text)).collect();
        assert!(!own.is_empty(), "{} has no sessions", service.name);
        let mut dice = Dice(0x5e41_0000 + at as u64 + 1);
        for _ in 0..runs {
            // Mostly the service's own words; now and then another's, as scanners do.
            let pool = if dice.roll(8) == 0 { &everything } else { &own };
            let mut bytes = pool[dice.roll(pool.len())].clone();
            for _ in 0..=dice.roll(4) {
                change(&mut bytes, pool, &mut dice);
            }
            bytes.truncate(LONGEST);
            drive(service, &bytes);
        }
    }
}

#[test]
fn no_changed_configuration_is_refused_without_a_word() {
    const NATIVE: &str = "[ftp]\nenabled = true\nport = 2121\nbanner = \"x\"\n\n[store]\nkeep_days = 3\n";
    let sample = include_str!("../crates/serin/opencanary.conf");
    let pool: Vec<Vec<u8>> = vec![sample.into(), NATIVE.into()];
    let no_folders = |_: &Path| Err(io::Error::other("no folders here"));
    let (catalogue, environment) = (Catalogue::whole(), Environment::default());
    let mut dice = Dice(0x5e41_c0f1);
    let mut refused = 0;
    for run in 0..RUNS {
        let mut bytes = pool[dice.roll(pool.len())].clone();
        if run >= 2 {
            for _ in 0..=dice.roll(3) {
                change(&mut bytes, &pool, &mut dice);
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        let read = Config::parse(catalogue, Path::new("x.conf"), &text, &environment, &no_folders);
        if let Err(complaints) = read {
            refused += 1;
            assert!(!complaints.to_string().trim().is_empty(), "refused without a word: {text}");
        }
    }
    assert!(refused > RUNS / 4 && refused < RUNS, "{refused} of {RUNS} refused");
}

fn change(bytes: &mut Vec<u8>, pool: &[Vec<u8>], dice: &mut Dice) {
    let at = dice.roll(bytes.len() + 1);
    match dice.roll(6) {
        0 => bytes.truncate(at),
        1 => {
            let other = &pool[dice.roll(pool.len())];
            bytes.truncate(at);
            bytes.extend_from_slice(&other[dice.roll(other.len() + 1)..]);
        }
        2 => {
            let filler = [0x00, 0xff, b'A', b' ', b'\n', b'%', 0x80][dice.roll(7)];
            let many = vec![filler; 1 << dice.roll(12)];
            bytes.splice(at..at, many);
        }
        3 => {
            let end = bytes.len().min(at + dice.roll(16));
            bytes.drain(at..end);
        }
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = u8::try_from(dice.roll(256)).unwrap_or(0);
            }
        }
    }
}
