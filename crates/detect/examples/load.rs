//! Loads rule folders and says what came of it and how long it took: `load DIR...`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serin_detect::{Options, Pack};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut files = Vec::new();
    for folder in std::env::args_os().skip(1) {
        collect(Path::new(&folder), &mut files)?;
    }
    let read: Vec<(String, Vec<u8>)> = files
        .into_iter()
        .map(|it| Ok((it.display().to_string(), std::fs::read(it)?)))
        .collect::<std::io::Result<_>>()?;
    let before = Instant::now();
    let pack = Pack::read(read.iter().map(|it| (it.0.as_str(), it.1.as_slice())), &Options::default());
    let took = before.elapsed();
    for it in &pack.warnings {
        println!("{}: doubtful: {}", it.place, it.why);
    }
    for it in &pack.refused {
        println!("{it}");
    }
    let (rules, correlations) = (pack.rules.len(), pack.correlations.len());
    let (refused, doubtful) = (pack.refused.len(), pack.warnings.len());
    println!(
        "{rules} rules, {correlations} correlations, {refused} refused, {doubtful} warnings in {took:?}"
    );
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|it| it == "yml" || it == "yaml") {
            files.push(path);
        }
    }
    Ok(())
}
