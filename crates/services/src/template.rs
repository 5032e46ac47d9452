//! The pattern for a new service, kept alive by its tests: asks for a password, refuses it.
//!
//! A client sees `Password: `, and `No.` to whatever it answers. Copy this file, write this comment
//! first (what a client sees, what we never do, which document says so), name the new service twice
//! in `lib.rs`, and let the tests there ask for the rest.

use std::sync::Arc;
use std::time::Duration;

use serin_event::{Event, Tainted, kinds};

use crate::conf::{Complaint, Conf};
use crate::dialogue::{Actions, Broken, Dialogue, Opening};
use crate::probe::{Probe, Script, Step};
use crate::wire::first_line;
use crate::{Listening, Service, settings};

pub(crate) static SERVICE: Service = Service {
    name: "template",
    about: "Asks for a password and refuses it",
    opencanary: None,
    port: 1006,
    opencanary_port: 1006,
    keys: Settings::KEYS,
    events: &[&kinds::EXAMPLE],
    backlog: LINE_MAX,
    idle: Duration::from_mins(1),
    probe: Probe {
        tls: false,
        client: |_| Script::boxed(&[Step::Hear(&[b": "]), Step::Say(b"serin-selftest\r\n")]),
        proof: &[&kinds::EXAMPLE],
    },
    build,
};

settings! { "template" {
    /// What asks for the password.
    prompt: String = "Password: ".into();
} }

fn build(conf: &Conf) -> Result<Vec<Listening>, Vec<Complaint>> {
    let settings = Arc::new(Settings::read(conf)?);
    Ok(Listening::tcp(&SERVICE, conf, Box::new(move || Box::new(Template { settings: settings.clone() }))))
}

struct Template {
    settings: Arc<Settings>,
}

impl Dialogue for Template {
    fn open(&mut self, _opening: &Opening, out: &mut Actions) {
        out.text(self.settings.prompt.clone());
    }

    fn input<'b>(&mut self, bytes: &'b [u8], out: &mut Actions) -> Result<&'b [u8], Broken> {
        let mut rest = bytes;
        while let Some((line, after)) = first_line(rest) {
            out.report(Event::new(&kinds::EXAMPLE).with("PASSWORD", Tainted::new(line, FIELD_MAX)));
            out.send(&b"No.\r\n"[..]);
            out.text(self.settings.prompt.clone());
            rest = after;
        }
        if rest.len() >= LINE_MAX { Err(Broken("a line over 512 bytes")) } else { Ok(rest) }
    }
}

const LINE_MAX: usize = 512;
const FIELD_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay;

    #[test]
    fn a_password_is_refused_and_reported() {
        replay::check(
            &SERVICE,
            "inline",
            r#"
<< Password: 
> hunter2
! 1006 PASSWORD="hunter2"
< No.
<< Password: 
= gone
"#,
        );
    }

    #[test]
    fn settings_change_what_is_said() {
        replay::check(&SERVICE, "inline", "@ set template.prompt \"? \"\n<< ? \n= gone\n");
    }

    #[test]
    fn an_endless_line_ends_by_its_limit() {
        let long = "x".repeat(LINE_MAX);
        replay::check(
            &SERVICE,
            "inline",
            &format!("<< Password: \n>> {long}\n= broken a line over 512 bytes\n"),
        );
        replay::drive(&SERVICE, long.as_bytes());
    }
}
