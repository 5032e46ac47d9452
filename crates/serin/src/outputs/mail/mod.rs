//! Mail: one for each card, as text and HTML, or one for each event as OpenCanary sends it.
//!
//! The conversation is ours (`smtp`), because each recipient has a fate of its own, and because a
//! mail server's answers decide between repeating, waiting for the operator and giving up.

mod handler;
mod message;
mod mime;
mod oauth;
mod partly;
mod smtp;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use serin_event::Record;
use serin_services::conf::{Complaint, Conf};
use serin_services::{choices, settings};

pub(crate) use handler::from_handler;

use message::{Handler, Letterhead};
use mime::Mailbox;
use oauth::{Grant, Tokens};
use partly::Partly;
use smtp::{Fate, Login, Security, Server, Session};

use super::alert::{self, Card, Channel, Courier};
use super::delivery::Names;
use super::formatter::{Formatter, Style};
use super::secret::Secret;
use super::transport::http::{self, Http};
use super::transport::{CONNECT, tls};
use super::{Carries, Later, Outcome, Output, OutputType, Passwords};
use crate::runtime::clock::now;

pub(crate) static OUTPUT: OutputType = OutputType {
    name: "mail",
    about: "Mail through a server, as text and HTML",
    keys: &[Settings::KEYS, alert::KEYS, http::KEYS, tls::KEYS],
    carries: Carries::Incidents,
    passwords: Passwords::Drop,
    batch: alert::BATCH,
    build,
};

choices! {
    /// When the connection to the server becomes secret.
    Secrecy { StartTls = "starttls", Implicit = "implicit", Opportunistic = "opportunistic", None = "none" }
    wants "starttls, implicit, opportunistic or none"
}

choices! {
    /// What a mail looks like.
    Layout { Card = "card", OpenCanary = "opencanary" } wants "card or opencanary"
}

settings! { "mail" {
    /// The mail server.
    host: String = String::new();
    /// Its port; 0: 587 for starttls and opportunistic, 465 for implicit, 25 for none.
    port: u16 = 0;
    /// When the connection becomes secret: after STARTTLS or not at all, from the first byte, after
    /// STARTTLS where the server offers it, or never.
    tls: Secrecy = Secrecy::StartTls;
    /// The user to log in as; empty: nobody logs in.
    user: String = String::new();
    /// The password of that user. It is sent over TLS only.
    password: Secret = Secret::default();
    /// Sends the password without TLS, too; to a server on this machine and nowhere else.
    clear_password: bool = false;
    /// Whom mails come from: an address, or a name and an address in < and >.
    from: String = String::new();
    /// Whom they go to.
    to: Names = Names(Vec::new());
    /// The subject, a template; it may name title, severity, sensor and test.
    subject: String = "[canary] {{ title }}".to_owned();
    /// Our name for the server; empty: our address.
    hello: String = String::new();
    /// Seconds for each answer of the server.
    reply_timeout: Duration = Duration::from_secs(20);
    /// Where tokens of OAuth 2 come from, which take the place of a password (XOAUTH2).
    token_url: String = String::new();
    /// Our name at the token server.
    client_id: String = String::new();
    /// Our secret at the token server.
    client_secret: Secret = Secret::default();
    /// The token that others are had for; empty: they are had for the secret alone.
    refresh_token: Secret = Secret::default();
    /// What the token is for, such as https://outlook.office365.com/.default.
    scope: String = String::new();
    /// What a mail looks like: a card for people, or the line of one event as Python's SMTPHandler
    /// sends it under OpenCanary.
    layout: Layout = Layout::Card;
    /// For the layout opencanary: a line format as in Python's logging.
    format: String = String::new();
    /// How `asctime` looks in the format, in strftime's directives.
    datefmt: String = String::new();
    /// The notation of the format: %, { or $.
    style: Style = Style::Percent;
} }

fn build(conf: &Conf) -> Result<Box<dyn Output>, Vec<Complaint>> {
    let settings = Settings::read(conf)?;
    let mut complaints = Vec::new();
    match Mail::new(conf, settings, &mut complaints) {
        Some(mail) if complaints.is_empty() => Ok(Box::new(Channel::new(conf, mail)?)),
        _ => Err(complaints),
    }
}

#[derive(Debug)]
struct Mail {
    host: String,
    port: u16,
    security: Secrecy,
    tls: Arc<ClientConfig>,
    clear_password: bool,
    hello: String,
    patience: Duration,
    user: String,
    password: Secret,
    tokens: Option<Tokens>,
    from: Mailbox,
    to: Vec<Mailbox>,
    form: Form,
    /// Mails that some have already, while others do not.
    partly: Partly,
    /// Why those do not take them yet.
    later: Vec<(String, String)>,
    /// Recipients that the server refuses.
    refused: Vec<(String, String)>,
    warning: Option<String>,
}

#[derive(Debug)]
enum Form {
    Card(Box<Letterhead>),
    OpenCanary(Handler, Formatter),
}

impl Mail {
    fn new(conf: &Conf, settings: Settings, complaints: &mut Vec<Complaint>) -> Option<Self> {
        let complain = |key: &str, text: String| Complaint { key: format!("mail.{key}"), text };
        let odd = |text: &str| text.contains(|it: char| !it.is_ascii_graphic());
        if settings.host.is_empty() || odd(&settings.host) {
            complaints.push(complain("host", "wants the name of a mail server".to_owned()));
        }
        if odd(&settings.hello) {
            complaints.push(complain("hello", "wants a host's name".to_owned()));
        }
        let from =
            Mailbox::parse(&settings.from).map_err(|text| complaints.push(complain("from", text))).ok();
        let to: Result<Vec<_>, _> = settings.to.0.iter().map(|it| Mailbox::parse(it)).collect();
        let to = match to {
            Ok(to) if to.is_empty() => Err("wants at least one address".to_owned()),
            other => other,
        };
        let to = to.map_err(|text| complaints.push(complain("to", text))).ok();
        let password = settings.password.reveal_or_complain("mail.password", complaints);
        let tls = tls::config(conf).map_err(|it| complaints.extend(it)).ok();
        let tokens = tokens(conf, &settings, complaints);
        if tokens.is_some() && settings.tls == Secrecy::None && !settings.clear_password {
            complaints.push(complain("tls", "a login needs TLS: wants starttls or implicit".to_owned()));
        }
        if !password.is_empty() && settings.tls == Secrecy::None && !settings.clear_password {
            let text = "a login needs TLS: wants starttls or implicit; or clear_password, on this machine";
            complaints.push(complain("tls", text.to_owned()));
        }
        let (from, to, tls) = (from?, to?, tls?);
        let form = form(&settings, &from, &to).map_err(|it| complaints.push(it)).ok()?;
        let port = match (settings.port, settings.tls) {
            (0, Secrecy::StartTls | Secrecy::Opportunistic) => 587,
            (0, Secrecy::Implicit) => 465,
            (0, Secrecy::None) => 25,
            (port, _) => port,
        };
        Some(Self {
            host: settings.host,
            port,
            security: settings.tls,
            tls,
            clear_password: settings.clear_password,
            hello: settings.hello,
            patience: settings.reply_timeout.max(Duration::from_secs(1)),
            user: settings.user,
            password: settings.password,
            tokens,
            from,
            to,
            form,
            partly: Partly::default(),
            later: Vec::new(),
            refused: Vec::new(),
            warning: if settings.tls == Secrecy::None { None } else { tls::warning(conf) },
        })
    }

    async fn hand_over(&mut self, card: &Card, message: &[u8]) -> Outcome {
        let login = match self.login().await {
            Ok(login) => login,
            Err(outcome) => return outcome,
        };
        let server = Server {
            host: &self.host,
            port: self.port,
            security: match self.security {
                Secrecy::StartTls => Security::StartTls,
                Secrecy::Implicit => Security::Implicit,
                Secrecy::Opportunistic => Security::Opportunistic,
                Secrecy::None => Security::Never,
            },
            tls: &self.tls,
            clear_password: self.clear_password,
            hello: &self.hello,
            patience: self.patience,
        };
        let mut session = match Session::open(&server, &login).await {
            Ok(session) => session,
            Err(outcome) => {
                // It may have been taken back before its end.
                if let (Outcome::Hold(_), Some(tokens)) = (&outcome, &mut self.tokens) {
                    tokens.forget();
                }
                return outcome;
            }
        };
        let done = self.partly.done(&card.events);
        let to: Vec<String> =
            self.to.iter().map(|it| it.address.clone()).filter(|it| !done.contains(it)).collect();
        let addresses: Vec<&str> = to.iter().map(String::as_str).collect();
        let outcome = match session.mail(&self.from.address, &addresses, message).await {
            Ok(fates) => self.judge(card, done, &to, fates),
            // It has become too large for those who lack it.
            Err(Outcome::Reject(why)) if !done.is_empty() => {
                self.judge(card, done, &to, vec![Fate::Refused(why); to.len()])
            }
            Err(outcome) => outcome,
        };
        session.quit().await;
        outcome
    }

    /// Servers repeat what they are told, and tokens are in no setting.
    fn without_tokens(&self, outcome: Outcome) -> Outcome {
        let Some(tokens) = &self.tokens else { return outcome };
        match outcome {
            Outcome::Retry { why, after } => Outcome::Retry { why: tokens.clean(&why), after },
            Outcome::Hold(why) => Outcome::Hold(tokens.clean(&why)),
            Outcome::Reject(why) => Outcome::Reject(tokens.clean(&why)),
            other => other,
        }
    }

    async fn login(&mut self) -> Result<Login, Outcome> {
        if let Some(tokens) = &mut self.tokens {
            return Ok(Login::Token { user: self.user.clone(), token: tokens.token().await? });
        }
        if self.user.is_empty() {
            return Ok(Login::Nobody);
        }
        Ok(Login::Password {
            user: self.user.clone(),
            password: self.password.reveal().map_err(Outcome::Hold)?,
        })
    }

    /// What is to be done, when each recipient has a fate of its own.
    fn judge(&mut self, card: &Card, mut done: Vec<String>, to: &[String], fates: Vec<Fate>) -> Outcome {
        let mut later = None;
        let mut refused = None;
        let fates: Vec<_> = to.iter().zip(fates).collect();
        done.extend(fates.iter().filter(|it| it.1 == Fate::Taken).map(|it| it.0.clone()));
        let gives_up = !done.is_empty() && self.partly.gives_up(&card.events, card.time, now());
        for (address, fate) in fates {
            for told in [&mut self.refused, &mut self.later] {
                told.retain(|it| it.0 != *address);
            }
            let fate = match fate {
                Fate::Later(why) if gives_up => Fate::Refused(format!("{why}; given up")),
                other => other,
            };
            match fate {
                Fate::Taken => {}
                Fate::Later(why) => {
                    later = Some(format!("{address}: {why}"));
                    self.later.push((address.clone(), why));
                }
                Fate::Refused(why) => {
                    refused = Some(format!("{address}: {why}"));
                    self.refused.push((address.clone(), why));
                }
            }
        }
        if let Some(why) = later {
            // Others wait for nobody.
            if done.is_empty() {
                return Outcome::retry(why);
            }
            return Outcome::Wait(self.partly.keep(&card.events, done));
        }
        self.partly.settled(&card.events);
        match refused {
            Some(why) if done.is_empty() => Outcome::Reject(why),
            _ => Outcome::Delivered,
        }
    }
}

fn form(settings: &Settings, from: &Mailbox, to: &[Mailbox]) -> Result<Form, Complaint> {
    let complain = |key: &str, text: String| Complaint { key: format!("mail.{key}"), text };
    let (from, to, subject) = (from.clone(), to.to_vec(), settings.subject.clone());
    if settings.layout == Layout::Card {
        let letterhead = Letterhead::new(from, to, subject).map_err(|text| complain("subject", text))?;
        return Ok(Form::Card(Box::new(letterhead)));
    }
    let formatter = Formatter::new(&settings.format, &settings.datefmt, settings.style)
        .map_err(|text| complain("format", text))?;
    Ok(Form::OpenCanary(Handler { from, to, subject }, formatter))
}

fn tokens(conf: &Conf, settings: &Settings, complaints: &mut Vec<Complaint>) -> Option<Tokens> {
    let client_secret = settings.client_secret.reveal_or_complain("mail.client_secret", complaints);
    let refresh_token = settings.refresh_token.reveal_or_complain("mail.refresh_token", complaints);
    if settings.token_url.is_empty() {
        return None;
    }
    for (key, text) in [("user", &settings.user), ("client_id", &settings.client_id)] {
        if text.is_empty() {
            let text = "is missing, and a login with a token needs it".to_owned();
            complaints.push(Complaint { key: format!("mail.{key}"), text });
        }
    }
    let url = http::url("mail.token_url", &settings.token_url).map_err(|it| complaints.push(it)).ok()?;
    let local = matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
    if url.scheme() != "https" && !local {
        let text = "wants https://: secrets are sent to it".to_owned();
        complaints.push(Complaint { key: "mail.token_url".to_owned(), text });
    }
    let http = Http::new(conf).map_err(|it| complaints.extend(it)).ok()?;
    let (client_id, scope) = (settings.client_id.clone(), settings.scope.clone());
    Some(Tokens::new(Grant { url, client_id, client_secret, refresh_token, scope }, http))
}

impl Courier for Mail {
    fn message(&self, card: &Card, record: Option<&Record>) -> Option<Vec<u8>> {
        Some(match &self.form {
            Form::Card(letterhead) => letterhead.card(card),
            Form::OpenCanary(handler, formatter) => {
                let line = record.map_or_else(|| card.sentence.clone(), |it| formatter.format(it));
                handler.mail(card, record, &line)
            }
        })
    }

    fn send<'a>(&'a mut self, card: &'a Card, message: Vec<u8>) -> Later<'a, Outcome> {
        Box::pin(async move {
            let outcome = self.hand_over(card, &message).await;
            self.without_tokens(outcome)
        })
    }

    fn partly(&self) -> Vec<(Vec<u64>, Duration)> {
        self.partly.all()
    }

    fn forget_before(&mut self, event: u64) {
        self.partly.forget_before(event);
    }

    fn keep_in(&mut self, folder: &Path, name: &str) {
        if let Some(tokens) = &mut self.tokens {
            tokens.keep_in(folder, name);
        }
    }

    fn recall(&mut self, memory: Option<&str>) {
        self.partly = Partly::recall(memory);
    }

    fn memory(&self) -> Option<String> {
        self.partly.memory()
    }

    fn confirms(&self) -> &'static str {
        "accepted by the mail server"
    }

    /// A server that is slow with each of its answers is met again later; one that is slow with some
    /// of them is waited for.
    fn deadline(&self) -> Duration {
        let token = self.tokens.as_ref().map_or(Duration::ZERO, Tokens::deadline);
        CONNECT * 2 + self.patience * 3 + token
    }

    fn warning(&self) -> Option<String> {
        let refused =
            self.refused.iter().map(|(address, why)| format!("the server refuses {address}: {why}"));
        let waits = !self.partly.all().is_empty();
        let later = self.later.iter().filter(|_| waits);
        let later =
            later.map(|(address, why)| format!("the server does not take mail for {address} yet: {why}"));
        let all = self.warning.clone().into_iter().chain(refused).chain(later);
        let problem = self.tokens.as_ref().and_then(|it| it.problem()).map(str::to_owned);
        let all: Vec<_> = all.chain(problem).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}
