//! The first screen: what listens where, where events go, and one line to try.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use super::sensor::{CONSOLE, Unavailable};
use crate::config::{Config, Dialect};

/// What the first screen tells.
pub(crate) struct Greeting<'a> {
    pub(crate) config: &'a Config,
    /// Service, address, port.
    pub(crate) services: &'a [(&'static str, IpAddr, u16)],
    pub(crate) unavailable: &'a [Unavailable],
    pub(crate) outputs: &'a str,
    pub(crate) database: &'a Path,
    /// What the process gave up.
    pub(crate) confined: &'a str,
    pub(crate) took: Duration,
    pub(crate) bold: bool,
}

impl Greeting<'_> {
    fn bold(&self, text: &str) -> String {
        if self.bold { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Something that a person can type to see the first event.
    fn suggestion(&self) -> Option<String> {
        let (_, address, port) = self.services.iter().find(|it| it.0 == "ftp")?;
        Some(format!("curl ftp://root:secret@{}/", shown(*address, *port)))
    }
}

impl fmt::Display for Greeting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.config.file.as_ref().map(|it| it.display().to_string());
        let from =
            file.unwrap_or_else(|| "no configuration found: every service, on this machine alone".to_owned());
        let version = env!("CARGO_PKG_VERSION");
        writeln!(f, "{} {version} as {} ({from})\n", self.bold("Serin"), self.config.node_id)?;
        for (name, address, port) in self.services {
            let about = serin_services::find(name).map_or("", |it| it.about);
            writeln!(f, "  {name:<10} {:<22} {about}", shown(*address, *port))?;
        }
        for problem in self.unavailable {
            writeln!(f, "  {:<10} not served: {}", problem.service, problem.why)?;
        }
        writeln!(f)?;
        let served = !self.unavailable.iter().any(|it| it.service == CONSOLE);
        if let Some(console) = self.config.console.filter(|_| served) {
            writeln!(f, "Health and metrics: http://{console}/")?;
        }
        let outputs = if self.outputs.is_empty() { String::new() } else { format!("{} and ", self.outputs) };
        writeln!(f, "Events: {outputs}in {}", self.database.display())?;
        write!(f, "Started in {} ms", self.took.as_millis())?;
        if !self.confined.is_empty() {
            write!(f, "; {}", self.confined)?;
        }
        writeln!(f)?;
        if self.config.dialect == Dialect::Demo
            && let Some(suggestion) = self.suggestion()
        {
            writeln!(f, "\nTry: {}", self.bold(&suggestion))?;
        }
        Ok(())
    }
}

/// `127.0.0.1:21`, `[::]:21`.
pub(crate) fn shown(address: IpAddr, port: u16) -> String {
    SocketAddr::new(address, port).to_string()
}
