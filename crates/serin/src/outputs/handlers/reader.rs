//! The arguments of one handler's definition.

use serde_json::{Map, Value};
use serin_services::conf::{Complaint, Conf, Setting, wrong};

use crate::outputs::formatter::{Formatter, Style};
use crate::outputs::{OutputType, delivery};

/// Takes the arguments out of a definition, one by one, and knows which nobody asked for.
pub(crate) struct Reader<'a> {
    prefix: String,
    kwargs: &'a Map<String, Value>,
    in_order: &'a dyn Fn(&str) -> Option<String>,
    taken: Vec<&'static str>,
    pub(crate) conf: Conf,
    pub(super) complaints: Vec<Complaint>,
    /// Whether the class uses its formatter.
    pub(crate) formatter_counts: bool,
    /// What the output calls the formatter's format, where it is not `format`.
    pub(crate) format_key: &'static str,
}

impl<'a> Reader<'a> {
    /// Python takes these before the class is called. A handler's level is overwritten by
    /// OpenCanary, and filters cannot be defined in its file.
    const NOT_ARGUMENTS: &'static [&'static str] = &["class", "formatter", "level", "filters"];

    pub(crate) fn new(
        name: &str,
        kwargs: &'a Map<String, Value>,
        in_order: &'a dyn Fn(&str) -> Option<String>,
    ) -> Self {
        Self {
            prefix: format!("logger.kwargs.handlers.{name}"),
            kwargs,
            in_order,
            taken: Vec::new(),
            conf: Conf::new(),
            complaints: Vec::new(),
            formatter_counts: true,
            format_key: "format",
        }
    }

    /// OpenCanary's handlers send every event one by one, passwords included.
    pub(crate) fn each_event(&mut self) {
        self.conf.set("delivery.send", "events");
        self.conf.set("delivery.passwords", "keep");
    }

    /// A text without which the handler is of no use.
    pub(crate) fn required(&mut self, argument: &'static str, key: &str, wants: &str) {
        match self.take(argument) {
            Some(Value::String(text)) if !text.is_empty() => self.conf.set(key, text.clone()),
            Some(other) => self.complain(argument, wrong(wants, other)),
            None => self.complain(argument, format!("is missing: {wants}")),
        }
    }

    /// Settings of ours that stand among the arguments: what Python does not know, this output may.
    pub(crate) fn shared(&mut self, output: &OutputType) {
        let groups = output.keys.iter().skip(1).copied().chain([delivery::KEYS]);
        for key in groups.flatten() {
            let Some((_, name)) = key.name.split_once('.') else { continue };
            if self.taken.contains(&name) {
                continue;
            }
            if let Some(value) = self.kwargs.get(name) {
                self.taken.push(name);
                self.conf.set(key.name, value.clone());
            }
        }
    }

    pub(crate) fn take(&mut self, argument: &'static str) -> Option<&'a Value> {
        self.taken.push(argument);
        self.kwargs.get(argument)
    }

    /// An argument's JSON text, its members in the order of the file.
    pub(crate) fn take_in_order(&mut self, argument: &'static str) -> Option<String> {
        self.taken.push(argument);
        (self.in_order)(argument)
    }

    pub(crate) fn read<T: Setting>(&mut self, argument: &'static str, default: T) -> T {
        let Some(value) = self.take(argument) else { return default };
        T::read(value).unwrap_or_else(|()| {
            self.complain(argument, wrong(T::WANTS, value));
            default
        })
    }

    pub(crate) fn number(&mut self, argument: &'static str, default: u32) -> u32 {
        self.read(argument, default)
    }

    /// `mode`: `w` empties the file at each start, where Python honours it.
    pub(crate) fn file_mode(&mut self, honoured: bool) {
        match self.take("mode") {
            None => {}
            Some(Value::String(mode)) if matches!(mode.as_str(), "a" | "at" | "a+") => {}
            Some(Value::String(mode)) if matches!(mode.as_str(), "w" | "wt" | "w+") => {
                self.conf.set("file.truncate", honoured);
            }
            Some(other) => self.complain("mode", wrong("a or w", other)),
        }
    }

    pub(crate) fn complain(&mut self, argument: &str, text: String) {
        self.complaints.push(Complaint { key: format!("{}.{argument}", self.prefix), text });
    }

    /// Python's formatter definition: `format`, which the output calls `format_key`, `datefmt`, `style`.
    pub(crate) fn formatter(
        &mut self,
        section: &str,
        format_key: &str,
        formatter: Option<&Map<String, Value>>,
    ) {
        let Some(formatter) = formatter else { return };
        let mut texts = [("format", String::new()), ("datefmt", String::new()), ("style", "%".to_owned())];
        for (key, value) in formatter {
            let slot = texts.iter_mut().find(|it| it.0 == key);
            match (slot, value) {
                (Some((_, slot)), Value::String(text)) => slot.clone_from(text),
                (Some(_), Value::Null) => {}
                (Some(_), other) => self.complain("formatter", format!("{key} {}", wrong("a string", other))),
                (None, Value::String(class)) if key == "class" && class == "logging.Formatter" => {}
                (None, Value::Bool(_)) if key == "validate" => {}
                (None, _) => self.complain(
                    "formatter",
                    format!("has \"{key}\", which is not known; known are format, datefmt and style"),
                ),
            }
        }
        let [(_, format), (_, datefmt), (_, style)] = texts;
        let Ok(known) = Style::read(&style.as_str().into()) else {
            self.complain("formatter", format!("style {}", wrong(Style::WANTS, &style.into())));
            return;
        };
        // One at a time, so that neither hides what is wrong with the other.
        for (format, datefmt) in [(format.as_str(), ""), ("", datefmt.as_str())] {
            if let Err(text) = Formatter::new(format, datefmt, known) {
                self.complain("formatter", text);
            }
        }
        for (key, text) in [(format_key, format), ("datefmt", datefmt), ("style", style)] {
            if !text.is_empty() {
                self.conf.set(format!("{section}.{key}"), text);
            }
        }
    }

    pub(crate) fn leftovers(&mut self, class: &str) {
        let unknown: Vec<_> = self
            .kwargs
            .keys()
            .filter(|it| !Self::NOT_ARGUMENTS.contains(&it.as_str()) && !self.taken.contains(&it.as_str()))
            .cloned()
            .collect();
        for argument in unknown {
            let known = self.taken.join(", ");
            self.complain(&argument, format!("{class} has no such argument; it takes {known}"));
        }
    }
}
