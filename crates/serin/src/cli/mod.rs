//! The command line: one definition, from which help, completions and the manual page are made.

mod dead;
mod events;
mod ignore;
mod incidents;
pub mod opencanaryd;
mod outputs;
mod rules;
mod run;
mod selftest;
mod tail;
mod why;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::config::{Complaints, Config, Environment, Selection};
use crate::state::StateDir;

/// A network canary: plays the services an intruder tries, and reports every touch.
#[derive(Debug, Parser)]
#[command(name = "serin", version, about, max_term_width = 100, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArguments,
}

/// Which sensor is meant.
#[derive(Debug, Clone, Default, clap::Args)]
struct Sensor {
    /// Configuration: a serin.toml, or an OpenCanary file as it is.
    #[arg(long, value_name = "FILE", env = "SERIN_CONFIG")]
    config: Option<PathBuf>,
    /// Folder of database, keys and certificates.
    #[arg(long, value_name = "DIR", env = "SERIN_STATE_DIR")]
    state_dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, clap::Args)]
struct RunArguments {
    #[command(flatten)]
    sensor: Sensor,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the sensor; what happens when no command is given.
    Run(RunArguments),
    /// Check a configuration and tell everything that is wrong with it.
    Check {
        #[command(flatten)]
        sensor: Sensor,
    },
    /// Write a commented serin.toml to start from.
    Init {
        /// What the host claims to be; without it, the names are listed.
        #[arg(long, value_name = "NAME")]
        persona: Option<String>,
        /// Where to write it.
        #[arg(long, value_name = "FILE", default_value = "serin.toml")]
        out: PathBuf,
    },
    /// Print the serin.toml that does what an OpenCanary configuration does.
    Import {
        /// The OpenCanary configuration.
        file: PathBuf,
    },
    /// Print the JSON Schema of the configuration.
    Schema {
        /// Of OpenCanary's form instead of serin.toml.
        #[arg(long)]
        opencanary: bool,
    },
    /// Show events as they happen.
    Tail {
        #[command(flatten)]
        sensor: Sensor,
        /// One OpenCanary-shaped record a line instead of sentences.
        #[arg(long)]
        json: bool,
        /// Begin with so many events from before.
        #[arg(long, value_name = "N", default_value_t = 10)]
        last: usize,
    },
    /// Query the stored events, oldest first.
    Events(events::Arguments),
    /// Ignore rules: their hits, and what one would hide.
    Ignore {
        #[command(subcommand)]
        command: IgnoreCommand,
    },
    /// What people were told: list incidents, show one with its events, acknowledge it.
    Incidents(incidents::Arguments),
    /// The state of outputs, and a test of each.
    Outputs {
        #[command(subcommand)]
        command: OutputsCommand,
    },
    /// Detection rules: which there are, what is wrong with some, what they would find.
    Rules {
        #[command(subcommand)]
        command: rules::Command,
    },
    /// Let the running sensor try all its services and outputs.
    Selftest {
        /// Only these services.
        services: Vec<String>,
        #[command(flatten)]
        sensor: Sensor,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print completions for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    Man,
}

#[derive(Debug, Subcommand)]
enum IgnoreCommand {
    /// Every rule with its hits, last hit and expiry.
    List {
        #[command(flatten)]
        sensor: Sensor,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// What a rule would have hidden of the stored events.
    Test(ignore::Arguments),
}

#[derive(Debug, Subcommand)]
enum OutputsCommand {
    /// How far behind each output is, and its last error.
    Status {
        #[command(flatten)]
        sensor: Sensor,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Ask ISC whether it knows the account of a DShield output, and when it last got reports.
    DshieldCheck {
        /// The output's name in the configuration.
        name: String,
        #[command(flatten)]
        sensor: Sensor,
    },
    /// Send a labelled test event and tell whether the receiver confirmed it.
    Test {
        /// The output's name in the configuration.
        name: String,
        #[command(flatten)]
        sensor: Sensor,
    },
    /// What the receiver of an output refused for good, and why.
    Dead {
        /// The output's name.
        name: String,
        #[command(flatten)]
        sensor: Sensor,
        /// As JSON, one line each.
        #[arg(long)]
        json: bool,
    },
    /// Offer a receiver once more what it refused; what it takes now is forgotten.
    RetryDead {
        /// The output's name in the configuration.
        name: String,
        #[command(flatten)]
        sensor: Sensor,
    },
    /// Let an output go on elsewhere: it sends again, or leaves out, what lies between.
    Reset {
        /// The output's name in the configuration.
        name: String,
        /// begin (of what is stored), end, or the number of the event to go on with.
        #[arg(long, value_name = "PLACE")]
        to: dead::Place,
        #[command(flatten)]
        sensor: Sensor,
    },
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // Libraries that speak TLS themselves take this one; an error says that one is there already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // Not locked: outputs of a running sensor may write to it too.
    let mut out = std::io::stdout();
    match cli.command {
        None => run::run(&cli.run.sensor),
        Some(Command::Run(arguments)) => run::run(&arguments.sensor),
        Some(Command::Check { sensor }) => {
            crate::config::check(&sensor.selection(), &Environment::of_process(), &mut out)
        }
        Some(Command::Init { persona, out: path }) => {
            crate::config::init(persona.as_deref(), &path, &mut out)
        }
        Some(Command::Import { file }) => crate::config::import(&file, &mut out),
        Some(Command::Schema { opencanary }) => crate::config::schema(opencanary, &mut out),
        Some(Command::Tail { sensor, json, last }) => tail::tail(&sensor, json, last, &mut out),
        Some(Command::Events(arguments)) => events::events(&arguments, &mut out),
        Some(Command::Ignore { command: IgnoreCommand::List { sensor, json } }) => {
            ignore::list(&sensor, json, &mut out)
        }
        Some(Command::Ignore { command: IgnoreCommand::Test(arguments) }) => {
            ignore::test(&arguments, &mut out)
        }
        Some(Command::Rules { command }) => rules::run(&command, &mut out),
        Some(Command::Incidents(arguments)) => incidents::incidents(&arguments, &mut out),
        Some(Command::Outputs { command: OutputsCommand::Status { sensor, json } }) => {
            outputs::status(&sensor, json, &mut out)
        }
        Some(Command::Outputs { command: OutputsCommand::Test { name, sensor } }) => {
            outputs::test(&sensor, &name, &mut out)
        }
        Some(Command::Outputs { command: OutputsCommand::Dead { name, sensor, json } }) => {
            dead::list(&sensor, &name, json, &mut out)
        }
        Some(Command::Outputs { command: OutputsCommand::RetryDead { name, sensor } }) => {
            dead::retry(&sensor, &name, &mut out)
        }
        Some(Command::Outputs { command: OutputsCommand::Reset { name, to, sensor } }) => {
            dead::reset(&sensor, &name, to, &mut out)
        }
        Some(Command::Outputs { command: OutputsCommand::DshieldCheck { name, sensor } }) => {
            outputs::dshield_check(&sensor, &name, &mut out)
        }
        Some(Command::Selftest { services, sensor, json }) => {
            selftest::selftest(&sensor, services, json, &mut out)
        }
        Some(Command::Completions { shell }) => {
            clap_complete::generate(shell, &mut Cli::command(), "serin", &mut out);
            ExitCode::SUCCESS
        }
        Some(Command::Man) => {
            let written = clap_mangen::Man::new(Cli::command()).render(&mut out).and_then(|()| out.flush());
            if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}

impl Sensor {
    fn selection(&self) -> Selection {
        Selection { config: self.config.clone() }
    }

    fn load(&self) -> Result<Config, Complaints> {
        crate::config::load(&self.selection(), &Environment::of_process())
    }

    /// The state folder: the argument, else the configuration, else the usual place. A
    /// configuration that cannot be read has no say here: queries work without one.
    fn state(&self) -> StateDir {
        let configured =
            if self.state_dir.is_none() { self.load().ok().and_then(|it| it.store.state_dir) } else { None };
        self.state_beside(configured)
    }

    /// The same, with what the configuration says.
    fn state_beside(&self, configured: Option<String>) -> StateDir {
        StateDir::choose(self.state_dir.clone().or(configured.map(PathBuf::from)).as_deref())
    }
}

/// Says what went wrong, and gives the exit status for it.
fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("serin: {error}");
    ExitCode::FAILURE
}
