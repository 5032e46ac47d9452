//! Writes the recorded sessions and our rules as the fuzzers' first inputs, under `corpus/`.

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
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/rules");
    fs::create_dir_all(&rules)?;
    copy_rules(&repository.join("rules/sigma"), &rules)?;
    let events = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/events");
    fs::create_dir_all(&events)?;
    fs::write(events.join("lines"), include_str!("../events.jsonl"))?;
    println!("corpus/services holds {} inputs", fs::read_dir(&corpus)?.count());
    Ok(())
}

/// The names of rule files are unique without their folders.
fn copy_rules(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        if path.is_dir() {
            copy_rules(&path, to)?;
        } else if let (Some(name), Some("yml")) =
            (path.file_name(), path.extension().and_then(|it| it.to_str()))
        {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}

const NATIVE: &str =
    "[ftp]\nenabled = true\nport = 2121\nbanner = \"(vsFTPd 3.0.3)\"\n\n[store]\nkeep_days = 3\n";
