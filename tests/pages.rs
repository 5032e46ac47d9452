//! `docs/services/`: one page for each service, generated from its registration record.
//!
//! The pages are committed, and this test says when they are stale. `UPDATE=1` writes them anew.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serin_services::Service;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/services")
}

#[test]
fn the_services_pages_are_current() {
    let update = std::env::var_os("UPDATE").is_some();
    for service in serin_services::ALL {
        let path = folder().join(format!("{}.md", service.name));
        let wanted = page(service);
        if update {
            std::fs::create_dir_all(folder()).expect("docs/services can be made");
            std::fs::write(&path, &wanted).expect("a page can be written");
        }
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            there == wanted,
            "docs/services/{}.md is stale: UPDATE=1 cargo test -p serin-tests",
            service.name
        );
    }
    let known: BTreeSet<String> = serin_services::ALL.iter().map(|it| format!("{}.md", it.name)).collect();
    for entry in std::fs::read_dir(folder()).expect("docs/services is there") {
        let name = entry.expect("docs/services lists").file_name().to_string_lossy().into_owned();
        assert!(known.contains(&name), "docs/services/{name} belongs to no service");
    }
}

fn page(service: &Service) -> String {
    let name = service.name;
    let mut page =
        format!("<!-- Generated: UPDATE=1 cargo test -p serin-tests --test pages -->\n# {name}\n\n");
    let _ = writeln!(page, "{}.\n", service.about.trim_end_matches('.'));
    let ports = if service.port == service.opencanary_port {
        format!("Port {}", service.port)
    } else {
        format!("Port {}; {} under an OpenCanary file that names none", service.port, service.opencanary_port)
    };
    let _ = writeln!(
        page,
        "{ports}. A peer may leave {} bytes of one message unfinished, and is",
        service.backlog
    );
    let _ = writeln!(page, "hung up on after {} seconds of silence.\n", service.idle.as_secs());
    let _ = writeln!(page, "## Settings\n\n`{name}.enabled`, `{name}.port`, `{name}.honeycreds`");
    if !service.keys.is_empty() {
        let _ = writeln!(page, "and:\n\n| key | wants | default | what it does |\n|---|---|---|---|");
    }
    for key in service.keys {
        let mut default = format!("`{}`", (key.default)());
        if let Some(old) = key.opencanary {
            let _ = write!(default, ", in an OpenCanary file `{}`", old());
        }
        let doc = key.doc.split_whitespace().collect::<Vec<_>>().join(" ");
        let _ =
            writeln!(page, "| `{}` | {} | {} | {} |", key.name, cell(key.wants), cell(&default), cell(&doc));
    }
    if name == "ssh" {
        page.push_str(
            "\n## Servers that `ssh.version` can name\n\n| server | introduces itself as |\n|---|---|\n",
        );
        for (server, identification) in serin_services::ssh::servers() {
            let _ = writeln!(page, "| {server} | `{identification}` |");
        }
    }
    let _ = writeln!(page, "\n## Events\n");
    let _ = writeln!(
        page,
        "| logtype | name | severity | in the log line | beside it | in words |\n|---|---|---|---|---|---|"
    );
    for kind in service.events {
        let _ = writeln!(
            page,
            "| {} | `{}` | {} | {} | {} | {} |",
            kind.logtype,
            kind.name,
            kind.severity.name(),
            names(kind.fields),
            names(kind.details),
            cell(kind.sentence)
        );
    }
    page
}

/// Text that a table's cell can hold.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn names(fields: &[&str]) -> String {
    fields.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(" ")
}
