//! `serin init`: a commented `serin.toml` to start from.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::keys::{self, Known, Section};
use super::{Catalogue, toml};

/// What a host claims to be: settings that agree with each other.
#[derive(Debug)]
pub struct Persona {
    /// `--persona NAME`.
    pub name: &'static str,
    /// For a person, one line.
    pub about: &'static str,
    /// The settings it makes; those of services that this version lacks are left out.
    settings: &'static [(&'static str, Says)],
}

#[derive(Debug, Clone, Copy)]
enum Says {
    On,
    Text(&'static str),
    Port(u16),
}

impl Says {
    fn value(self) -> Value {
        match self {
            Self::On => json!(true),
            Self::Text(text) => json!(text),
            Self::Port(port) => json!(port),
        }
    }
}

impl Persona {
    /// The settings it makes.
    #[cfg(test)]
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.settings.iter().map(|it| it.0)
    }
}

/// What the other services say by default is Debian 12 too.
const DEBIAN_12: &str = "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10";

/// The personas of this version.
pub static PERSONAS: &[Persona] = &[
    Persona {
        name: "cisco-switch",
        about: "a switch that is managed over telnet and SSH",
        settings: &[
            ("device.hostname", Says::Text("sw-access-02")),
            ("ssh.enabled", Says::On),
            ("ssh.version", Says::Text("SSH-2.0-Cisco-1.25")),
            ("telnet.enabled", Says::On),
            ("telnet.product", Says::Text("cisco")),
            ("telnet.banner", Says::Text("Authorized access only. All activity is logged.")),
        ],
    },
    Persona {
        name: "linux-web",
        about: "a Linux server with a web application and its files",
        settings: &[
            ("device.hostname", Says::Text("web-02")),
            ("ftp.enabled", Says::On),
            ("http.enabled", Says::On),
            ("http.skin", Says::Text("basicLogin")),
            ("https.enabled", Says::On),
            ("https.skin", Says::Text("basicLogin")),
            ("git.enabled", Says::On),
            ("ssh.enabled", Says::On),
            ("ssh.version", Says::Text(DEBIAN_12)),
        ],
    },
    Persona {
        name: "nas",
        about: "a network storage with its web interface",
        settings: &[
            ("device.hostname", Says::Text("nas-01")),
            ("ftp.enabled", Says::On),
            ("http.enabled", Says::On),
            ("http.skin", Says::Text("nasLogin")),
            ("https.enabled", Says::On),
            ("https.skin", Says::Text("nasLogin")),
            ("ssh.enabled", Says::On),
            ("ssh.version", Says::Text(DEBIAN_12)),
        ],
    },
    Persona {
        name: "windows",
        about: "a Windows server with IIS, its mail and a web proxy",
        settings: &[
            ("device.hostname", Says::Text("srv-app01")),
            ("ftp.enabled", Says::On),
            ("ftp.banner", Says::Text("Microsoft FTP Service")),
            ("http.enabled", Says::On),
            ("http.banner", Says::Text("Microsoft-IIS/10.0")),
            ("http.skin", Says::Text("basicLogin")),
            ("httpproxy.enabled", Says::On),
            ("httpproxy.skin", Says::Text("ms-isa")),
            ("tcpbanner.enabled", Says::On),
            ("tcpbanner_1.enabled", Says::On),
            ("tcpbanner_1.port", Says::Port(25)),
            ("tcpbanner_1.initbanner", Says::Text("220 srv-app01 Microsoft ESMTP MAIL Service ready\\r\\n")),
        ],
    },
];

/// Writes a `serin.toml` to `path`, unless there is one. Exit status 0 or 1.
pub fn init(persona: Option<&str>, path: &Path, out: &mut dyn Write) -> ExitCode {
    let names: Vec<_> = PERSONAS.iter().map(|it| format!("  {:<14}{}", it.name, it.about)).collect();
    let names = names.join("\n");
    let chosen = persona.map(|name| (name, PERSONAS.iter().find(|it| it.name == name)));
    let (text, status) = match chosen {
        Some((name, None)) => {
            (format!("serin: there is no persona {name:?}. There are:\n\n{names}\n"), ExitCode::FAILURE)
        }
        chosen => match write(&text_of(Catalogue::whole(), chosen.and_then(|it| it.1)), path) {
            Err(error) => {
                (format!("serin: {} was not written: {error}\n", path.display()), ExitCode::FAILURE)
            }
            Ok(()) if persona.is_some() => (format!("{} is written.\n", path.display()), ExitCode::SUCCESS),
            Ok(()) => {
                let text = format!(
                    "{} is written, with every service off. With --persona a file comes filled in:\n\n{names}\n",
                    path.display()
                );
                (text, ExitCode::SUCCESS)
            }
        },
    };
    if out.write_all(text.as_bytes()).is_ok() { status } else { ExitCode::FAILURE }
}

/// Never over another file.
fn write(text: &str, path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).open(path)?.write_all(text.as_bytes())
}

/// Every setting with its sentence; what the persona does not set stands as a comment, with its
/// default.
pub(crate) fn text_of(catalogue: Catalogue, persona: Option<&Persona>) -> String {
    let settings = persona.map_or(&[][..], |it| it.settings);
    let mut text = String::from(
        "# Configuration of Serin. A line that begins with # shows a setting and its default.\n\
         # serin check says what is wrong with this file.\n",
    );
    if let Some(persona) = persona {
        let _ = writeln!(text, "# Persona: {}, {}.", persona.name, persona.about);
    }
    for section in keys::sections(catalogue) {
        write_section(&mut text, &section, settings);
    }
    write_outputs(&mut text, catalogue);
    text
}

fn write_section(text: &mut String, section: &Section, settings: &[(&str, Says)]) {
    let name = section.name.replace("_N", "_1");
    let _ = writeln!(text, "\n# {}", section.about);
    if section.name.is_empty() {
        text.push_str("# [[honeycreds]]\n# username = \"backup\"\n# password = \"in clear, or a hash\"\n");
        return;
    }
    let _ = writeln!(text, "[{name}]");
    for known in &section.settings {
        let full = known.name.replace("_N.", "_1.");
        let said = settings.iter().find(|it| it.0 == full).map(|it| it.1.value());
        write_setting(text, known, said);
    }
}

fn write_setting(text: &mut String, known: &Known, said: Option<Value>) {
    let _ = writeln!(text, "# {}", known.doc);
    let name = toml::name(known.short());
    let _ = match said {
        Some(value) => writeln!(text, "{name} = {}", toml::text(&value)),
        None => writeln!(text, "# {name} = {}", toml::text(&known.default)),
    };
}

fn write_outputs(text: &mut String, catalogue: Catalogue) {
    text.push_str("\n# Where events go, beside the store. Without any output they are printed.\n");
    for output in catalogue.outputs {
        let _ = writeln!(text, "\n# {}.", output.about.trim_end_matches('.'));
        let _ = writeln!(text, "# [outputs.my-{}]\n# type = \"{}\"", output.name, output.name);
        for known in output.keys.iter().copied().flatten().map(Known::from) {
            let name = toml::name(known.short());
            let _ = writeln!(text, "# {name} = {}  # {}", toml::text(&known.default), known.doc);
        }
    }
}
