//! How a self-test went.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use crate::outputs::{OutputStatus, State};

/// How a whole self-test went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The sensor's name.
    pub node_id: String,
    /// When it began: RFC 3339, UTC.
    pub time: String,
    /// Each port that was tried.
    pub services: Vec<ServiceTried>,
    /// Whether the result itself could be stored; without that nothing can reach an output.
    pub stored: bool,
    /// Each output.
    pub outputs: Vec<OutputTried>,
}

/// How one service did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceTried {
    /// Its name.
    pub service: String,
    /// The port, where it listens.
    pub port: Option<u16>,
    /// The kind of event that proves that it heard its visitor.
    pub event: Option<String>,
    /// From the connection to the durable event.
    pub milliseconds: Option<u64>,
    /// What is wrong.
    pub problem: Option<String>,
}

/// How one output did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputTried {
    /// Its name.
    pub output: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it needs nobody.
    pub well: bool,
    /// What became of the test, in words.
    pub outcome: String,
}

impl Report {
    /// Whether nobody has to look after anything.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.stored
            && self.services.iter().all(|it| it.problem.is_none())
            && self.outputs.iter().all(|it| it.well)
    }

    /// Prints it for a person.
    ///
    /// # Errors
    ///
    /// When nobody reads.
    pub fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "Self-test of {}\n\n{:<12} {:>5}  outcome", self.node_id, "service", "port")?;
        for tried in &self.services {
            let port = tried.port.map(|it| it.to_string()).unwrap_or_default();
            writeln!(out, "{:<12} {port:>5}  {}", tried.service, tried.outcome())?;
        }
        if !self.stored {
            return writeln!(out, "\nThe store does not take events: nothing can reach an output.");
        }
        writeln!(out, "\n{:<18} outcome", "output")?;
        for tried in &self.outputs {
            writeln!(out, "{:<18} {}", tried.output, tried.outcome)?;
        }
        Ok(())
    }
}

impl ServiceTried {
    pub(super) fn failed(service: &str, port: Option<u16>, problem: String) -> Self {
        Self { service: service.to_owned(), port, event: None, milliseconds: None, problem: Some(problem) }
    }

    fn outcome(&self) -> String {
        match (&self.problem, &self.event, self.milliseconds) {
            (Some(problem), _, _) => format!("FAILED: {problem}"),
            (None, event, time) => {
                format!("recorded {} in {} ms", event.as_deref().unwrap_or_default(), time.unwrap_or(0))
            }
        }
    }

    /// `ssh on port 22 recorded ssh.login in 9 ms`.
    pub(super) fn sentence(&self) -> String {
        let at = self.port.map(|it| format!(" on port {it}")).unwrap_or_default();
        match &self.problem {
            Some(problem) => format!("{}{at} {problem}", self.service),
            None => format!("{}{at} {}", self.service, self.outcome()),
        }
    }
}

impl OutputTried {
    /// What a status says of the records after `first`, up to and including `last`.
    pub(super) fn of(status: &OutputStatus, first: u64, last: u64) -> Self {
        let tried = status.selftest.as_ref().filter(|it| it.seq > first);
        let trouble = || status.last_error.clone().unwrap_or_else(|| "no reason given".to_owned());
        let (well, outcome) = match (tried, status.state) {
            (_, State::Hold) => (false, format!("NOT delivered, needs attention: {}", trouble())),
            (_, State::Disabled) => (false, format!("switched off until the next start: {}", trouble())),
            (Some(tried), _) => match &tried.problem {
                Some(why) => (false, format!("NOT delivered, refused: {why}")),
                None => (true, format!("delivered: {}", tried.confirmed)),
            },
            (None, State::BackingOff) => {
                let behind = status.lag_events;
                (false, format!("NOT delivered, {behind} events behind, is tried again: {}", trouble()))
            }
            (None, State::Ok) if status.tested >= last => (true, "takes nothing of a self-test".to_owned()),
            (None, State::Ok) => (false, format!("NOT delivered yet, {} events behind", status.lag_events)),
        };
        Self { output: status.name.clone(), kind: status.output.clone(), well, outcome }
    }
}
