//! Writes the recorded sessions as the fuzzers' first inputs, under `corpus/`.

use std::error::Error;
use std::fs;
use std::path::Path;

use serin_services::replay::{client_bytes, sessions_of};

fn main() -> Result<(), Box<dyn Error>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/services");
    fs::create_dir_all(&corpus)?;
    for (at, service) in serin_services::ALL.iter().enumerate() {
        for (path, text) in sessions_of(service.name) {
            let name = Path::new(&path).file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let mut bytes = vec![u8::try_from(at)?];
            bytes.extend(client_bytes(&text));
            fs::write(corpus.join(format!("{}-{name}", service.name)), bytes)?;
        }
    }
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/config");
    fs::create_dir_all(&configs)?;
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::copy(repository.join("crates/serin/opencanary.conf"), configs.join("opencanary"))?;
    fs::write(configs.join("native"), NATIVE)?;
    println!("corpus/services holds {} inputs", fs::read_dir(&corpus)?.count());
    Ok(())
}

const NATIVE: &str = "[ftp]\nenabled = true\nport = 2121\nbanner = \"(vsFTPd 3.0.3)\"\n\n[store]\nkeep_days = 3\n";
