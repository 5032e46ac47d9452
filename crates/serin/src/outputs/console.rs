//! Events on standard output or standard error, for a person or for whoever collects these.
//!
//! A reader that stops reading stalls this output and nothing else; one that goes away ends it.
//! OpenCanary's `logging.StreamHandler` becomes this.

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;

use serin_event::{Intent, Record, Severity};
use serin_services::conf::{Complaint, Conf};
use serin_services::{choices, settings};

use super::formatter::Style;
use super::line::{Form, Line};
use super::worker::{NoResult, Worker};
use super::{Batch, Carries, Delivery, Item, Later, Outcome, Output, OutputType, Passwords};

pub(crate) static OUTPUT: OutputType = OutputType {
    name: "console",
    about: "Lines on standard output or standard error",
    keys: &[Settings::KEYS],
    carries: Carries::Events,
    passwords: Passwords::Keep,
    batch: Batch { events: 256, bytes: 64 * 1024, linger: std::time::Duration::ZERO },
    build,
};

choices! {
    /// Where the lines go.
    Stream { Stdout = "stdout", Stderr = "stderr" } wants "stdout or stderr"
}

choices! {
    /// When colours are used.
    Colour { Auto = "auto", Always = "always", Never = "never" } wants "auto, always or never"
}

settings! { "console" {
    /// Where the lines go: stdout or stderr.
    stream: Stream = Stream::Stdout;
    /// What a line looks like: OpenCanary's JSON, or a sentence for a person.
    form: Form = Form::Text, opencanary "json";
    /// Colours in sentences: auto means on a terminal, unless NO_COLOR is set.
    colour: Colour = Colour::Auto;
    /// A line format as in Python's logging, instead of `form`.
    format: String = String::new();
    /// How `asctime` looks in the format, in strftime's directives.
    datefmt: String = String::new();
    /// The notation of the format: %, { or $.
    style: Style = Style::Percent;
} }

fn build(conf: &Conf) -> Result<Box<dyn Output>, Vec<Complaint>> {
    let settings = Settings::read(conf)?;
    let format = (settings.format.as_str(), settings.datefmt.as_str(), settings.style);
    let mut line = Line::from_settings("console", settings.form, format)?;
    if let Line::Text { coloured } = &mut line {
        *coloured = match settings.colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => settings.stream.takes_colours(),
        };
    }
    Ok(Box::new(Console { line, stream: settings.stream, worker: worker(settings.stream), unsure: false }))
}

impl Stream {
    fn takes_colours(self) -> bool {
        let terminal = match self {
            Self::Stdout => io::stdout().is_terminal(),
            Self::Stderr => io::stderr().is_terminal(),
        };
        // https://no-color.org: set and not empty.
        terminal && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty())
    }
}

#[derive(Debug)]
struct Console {
    line: Line,
    stream: Stream,
    worker: Worker<Writer>,
    /// Whether the result of the last call never came, so that its batch may be written already.
    unsure: bool,
}

/// The stream, apart from the standard library's own handle: a reader that does not read must not
/// hold a lock that our log lines need.
#[derive(Debug)]
struct Writer {
    stream: Stream,
    open: Option<File>,
    last: Vec<u8>,
}

fn worker(stream: Stream) -> Worker<Writer> {
    Worker::new("output-console", Writer { stream, open: None, last: Vec::new() })
}

impl Writer {
    /// Writes the whole batch; waits as long as the reader does not read. When `unsure`, the batch
    /// may begin with what the last call wrote.
    fn write(&mut self, batch: Vec<u8>, unsure: bool) -> io::Result<()> {
        if self.open.is_none() {
            let stream = match self.stream {
                Stream::Stdout => io::stdout().as_fd().try_clone_to_owned()?,
                Stream::Stderr => io::stderr().as_fd().try_clone_to_owned()?,
            };
            self.open = Some(stream.into());
        }
        let mut known = std::mem::take(&mut self.last);
        if !unsure {
            known.clear();
        }
        let fresh = batch.strip_prefix(known.as_slice()).unwrap_or(&batch);
        if let Some(stream) = &mut self.open {
            stream.write_all(fresh)?;
        }
        self.last = batch;
        Ok(())
    }
}

impl Output for Console {
    fn encode(&self, record: &Record) -> Option<Vec<u8>> {
        // A person who looks on need not hear that all is well; a program that reads along may.
        let idle = record.kind.intent == Intent::Housekeeping && record.severity() == Severity::Informational;
        if idle && matches!(self.line, Line::Text { .. }) {
            return None;
        }
        Some(self.line.encode(record))
    }

    fn deliver<'a>(&'a mut self, batch: &'a [Item]) -> Later<'a, Delivery> {
        let bytes: Vec<u8> = batch.iter().flat_map(|it| &it.body).copied().collect();
        Box::pin(async move {
            let unsure = std::mem::replace(&mut self.unsure, true);
            let written = self.worker.call(move |it| it.write(bytes, unsure)).await;
            self.unsure = matches!(written, Err(NoResult::Busy)) && unsure;
            Delivery::Whole(match written {
                Ok(Ok(())) => Outcome::Delivered,
                Ok(Err(error)) if error.kind() == ErrorKind::BrokenPipe => {
                    Outcome::Gone("whoever read this console has gone".to_owned())
                }
                Ok(Err(error)) => Outcome::retry(error.to_string()),
                Err(NoResult::Busy) => Outcome::retry("nobody reads this console"),
                Err(NoResult::Dead) => {
                    self.worker = worker(self.stream);
                    Outcome::retry("the console's thread has ended")
                }
            })
        })
    }

    fn confirms(&self) -> &'static str {
        "written to the console"
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::time::Duration;

    use serin_event::{Endpoint, Event, Tainted, Timestamp, kinds};
    use tokio::time::timeout;

    use super::*;

    /// A console that writes into a pipe, and the pipe's other end.
    fn piped() -> (Console, File) {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let open = Some(File::from(writer));
        let worker = Worker::new("test", Writer { stream: Stream::Stdout, open, last: Vec::new() });
        (Console { line: Line::Json, stream: Stream::Stdout, worker, unsure: false }, reader.into())
    }

    fn items(lines: &[Vec<u8>]) -> Vec<Item> {
        let record = std::sync::Arc::new(record());
        lines.iter().map(|it| Item { record: record.clone(), body: it.clone() }).collect()
    }

    fn record() -> Record {
        let event = Event::new(&kinds::FTP_LOGIN)
            .with("USERNAME", Tainted::new(b"admin", 64))
            .with("PASSWORD", Tainted::new(b"s3cret", 64));
        Record {
            source: Endpoint { host: "192.0.2.7".parse().ok(), port: Some(42350) },
            target: Endpoint { host: "192.0.2.1".parse().ok(), port: Some(21) },
            ..Record::of(&event, Timestamp(1_795_296_991_777_389), -18_000, "opencanary-1")
        }
    }

    fn encoded(settings: &[(&str, &str)]) -> String {
        let mut conf = Conf::new();
        for (key, value) in settings {
            conf.set(format!("console.{key}"), *value);
        }
        String::from_utf8(build(&conf).unwrap().encode(&record()).unwrap()).unwrap()
    }

    #[test]
    fn sentences_are_for_people_and_coloured_where_that_is_wanted() {
        let plain = "2026-11-21 16:36:31.777389 high ftp: 192.0.2.7 tried to log in to FTP as admin\n";
        assert_eq!(encoded(&[("colour", "never")]), plain);
        assert_eq!(encoded(&[("colour", "always")]), plain.replace("high", "\x1b[31mhigh\x1b[0m"));
        assert_eq!(encoded(&[("form", "json")]), record().line() + "\n");
        assert_eq!(encoded(&[("form", "json"), ("format", "%(levelname)s")]), "WARNING\n");
    }

    #[tokio::test]
    async fn a_reader_that_has_gone_ends_the_output() {
        let (mut console, reader) = piped();
        assert_eq!(console.deliver(&items(&[b"one\n".to_vec()])).await, Delivery::Whole(Outcome::Delivered));
        drop(reader);
        let gone = Outcome::Gone("whoever read this console has gone".to_owned());
        assert_eq!(console.deliver(&items(&[b"two\n".to_vec()])).await, Delivery::Whole(gone));
    }

    #[tokio::test]
    async fn a_reader_that_sleeps_is_waited_for_without_blocking_and_sees_each_line_once() {
        let (mut console, mut reader) = piped();
        // More than a pipe holds.
        let batch: Vec<Vec<u8>> = (0..20_000).map(|it| format!("line {it}\n").into_bytes()).collect();
        let whole = batch.concat();
        let batch = items(&batch);
        for _ in 0..2 {
            assert!(timeout(Duration::from_millis(30), console.deliver(&batch)).await.is_err());
        }
        let size = whole.len();
        let read = std::thread::spawn(move || {
            let mut found = vec![0; size];
            reader.read_exact(&mut found).unwrap();
            (found, reader)
        });
        let told = loop {
            let told = console.deliver(&batch).await;
            if told != Delivery::Whole(Outcome::retry("nobody reads this console")) {
                break told;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(told, Delivery::Whole(Outcome::Delivered));
        let (found, mut reader) = read.join().unwrap();
        assert!(found == whole);
        drop(console);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "nothing twice");
    }
}
