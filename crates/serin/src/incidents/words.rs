//! What is told of an incident: one sentence that names who did what, where.

use std::net::IpAddr;

use serin_event::{Intent, Tainted};

use super::incident::{Counted, Incident};
use super::rule::Rule;

/// The sentence, without a full stop. What peers chose is escaped and short; passwords are never in it.
pub(super) fn sentence(it: &Incident, name: Option<&str>) -> String {
    if it.rule() == Rule::Detection {
        return it.first_sample().to_owned();
    }
    let who = who(it, name);
    let place = format!("{} of {}", place(it), shown(&it.node));
    let deed = match it.rule() {
        Rule::Flood => format!("touched {place} in {}", times(it.count, "event")),
        Rule::NetworkScan => format!("scanned {} on {}{}", ports(it), targets(it), also(it)),
        Rule::HostScan => format!("scanned {} of {}{}", ports(it), shown(&it.node), also(it)),
        Rule::Distributed => format!("tried the same password{} on {place}", for_users(it)),
        Rule::Spray => spray(it, &place),
        Rule::BruteForce if it.bait.is_none() => {
            format!("is guessing passwords on {place}: {}{}", times(it.logins, "try"), for_users(it))
        }
        Rule::BruteForce | Rule::Touch | Rule::Detection => deed(it, &place),
    };
    match &it.bait {
        Some(user) if !matches!(it.rule(), Rule::Touch | Rule::BruteForce) => {
            format!("{who} used bait credentials{} and {deed}", of_user(user))
        }
        _ => format!("{who} {deed}"),
    }
}

fn who(it: &Incident, name: Option<&str>) -> String {
    let (sources, _) = it.spread();
    match (it.source(), it.sources.as_slice()) {
        (Some(source), _) => match name {
            Some(name) if !name.is_empty() => format!("{source} ({})", shown(name)),
            _ => source.to_string(),
        },
        (None, []) => "someone".to_owned(),
        (None, list) => format!("{} ({})", counted(sources, "source"), some(list)),
    }
}

/// What one source did on one service.
fn deed(it: &Incident, place: &str) -> String {
    if let Some(user) = &it.bait {
        let tries =
            if it.logins > 1 { format!(", {} in all", times(it.logins, "try")) } else { String::new() };
        return format!("used bait credentials{} on {place}{tries}", of_user(user));
    }
    if it.intent >= Intent::Login {
        let (_, passwords) = it.tried();
        return if passwords.number == 0 || passwords.or_more {
            let as_users = for_users(it).replacen(" for ", " as ", 1);
            format!("tried to log in {}{as_users} on {place}", often(it.logins))
        } else {
            format!("tried {}{} on {place}", counted(passwords, "password"), for_users(it))
        };
    }
    let first = bare(it);
    match (it.count, it.intent) {
        (1, _) => format!("{first}, on {}", shown(&it.node)),
        (count, Intent::Interact) => format!("touched {place} {}, first: {first}", often(count)),
        (count, _) => format!("connected to {place} {}", often(count)),
    }
}

fn spray(it: &Incident, place: &str) -> String {
    if it.services.len() > 1 {
        let services: Vec<_> = it.services.iter().map(|it| service(it)).collect();
        let tries = times(it.logins, "try");
        return format!(
            "tried to log in on {} services of {} ({}): {tries}{}",
            it.services.len(),
            shown(&it.node),
            some(&services),
            for_users(it)
        );
    }
    let (users, passwords) = it.tried();
    format!(
        "sprays {} over {} on {place} ({})",
        counted(passwords, "password"),
        counted(users, "user"),
        named(it)
    )
}

/// ` for root, admin and others`.
fn for_users(it: &Incident) -> String {
    if it.users.is_empty() { String::new() } else { format!(" for {}", named(it)) }
}

fn named(it: &Incident) -> String {
    let users: Vec<_> = it.users.iter().take(USERS).map(|it| shown(it)).collect();
    let others = if it.tried().0.number > users.len() { " and others" } else { "" };
    format!("{}{others}", users.join(", "))
}

fn of_user(user: &str) -> String {
    if user.is_empty() { String::new() } else { format!(" of {}", shown(user)) }
}

/// What a scan came to beside touching ports.
fn also(it: &Incident) -> String {
    if it.logins == 0 {
        String::new()
    } else {
        format!(" and tried to log in {}{}", often(it.logins), for_users(it).replacen(" for ", " as ", 1))
    }
}

fn ports(it: &Incident) -> String {
    let (_, ports) = it.spread();
    match it.ports.as_slice() {
        [one] => format!("port {one}"),
        list => format!("{} ({})", counted(ports, "port"), some(list)),
    }
}

fn targets(it: &Incident) -> String {
    let addresses: &[IpAddr] = &it.targets;
    format!("{} addresses of ours ({})", addresses.len(), some(addresses))
}

fn place(it: &Incident) -> String {
    match it.services.as_slice() {
        [one] => service(one),
        list => {
            let names: Vec<_> = list.iter().map(|it| service(it)).collect();
            some(&names)
        }
    }
}

/// The sentence of the first event, without who did it.
fn bare(it: &Incident) -> String {
    let sample = it.first_sample();
    let source = it.sources.first().map_or_else(|| "someone".to_owned(), ToString::to_string);
    sample.strip_prefix(&source).unwrap_or(sample).trim_start().to_owned()
}

/// The first few, and how many more.
fn some<T: ToString>(list: &[T]) -> String {
    let mut text = list.iter().take(LISTED).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if list.len() > LISTED {
        text += ", …";
    }
    text
}

fn counted(number: Counted, noun: &str) -> String {
    if number.or_more {
        format!("{} or more {}", thousands(number.number as u64), plural(noun))
    } else {
        times(number.number as u64, noun)
    }
}

/// `1 password`, `3 passwords`.
fn times(number: u64, noun: &str) -> String {
    let noun = if number == 1 { noun.to_owned() } else { plural(noun) };
    format!("{} {noun}", thousands(number))
}

fn plural(noun: &str) -> String {
    noun.strip_suffix('y').map_or_else(|| format!("{noun}s"), |it| format!("{it}ies"))
}

/// `once`, `3 times`.
fn often(number: u64) -> String {
    match number {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        _ => format!("{} times", thousands(number)),
    }
}

/// `1,000`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A service as people write it.
fn service(name: &str) -> String {
    let known = match name {
        "telnet" => "Telnet",
        "mysql" => "MySQL",
        "mssql" => "SQL Server",
        "mongodb" => "MongoDB",
        "redis" => "Redis",
        "git" => "Git",
        "httpproxy" => "the web proxy",
        "tcpbanner" => "a banner port",
        "portscan" => "the ports",
        "rdp" => "Remote Desktop",
        "user" => "a module of your own",
        "connection" => "a service",
        other => return shown(&other.to_ascii_uppercase()),
    };
    known.to_owned()
}

/// Escaped, and short.
fn shown(text: &str) -> String {
    Tainted::new(text.as_bytes(), 4 * CHARACTERS).shown(CHARACTERS)
}

const CHARACTERS: usize = 40;
/// Users that a sentence names.
const USERS: usize = 3;
/// Addresses, ports or services that it names.
const LISTED: usize = 5;
