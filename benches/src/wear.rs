//! An SSH client that asks for the same again and again on one connection: what each time costs the
//! server, and after how many times it has had enough.

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use serde_json::{Value, json};
use serin_services::ssh::client::{self, Heard};
use tokio::net::TcpStream;

use crate::ssh::{Talk, USERAUTH_FAILURE, offer};
use crate::{Wear, process};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    /// Other keys, before anybody is logged in.
    Keys,
    /// A login without anything.
    Nothing,
    /// A login with an RSA key of 8192 bits, the longest that is checked, and a wrong signature.
    Rsa8192,
    /// The same with 16384 bits.
    Rsa16384,
}

pub(crate) async fn run(wear: &Wear) -> Result<Value> {
    let stream = TcpStream::connect(wear.target).await?;
    stream.set_nodelay(true)?;
    let mut talk = Talk::new(stream, "wear", &offer(&wear.algorithms));
    talk.ask_for_authentication().await?;
    let cpu_before = process::cpu_time(wear.pid).context("no such process")?;
    let (mut done, mut sent, mut end) = (0, 0, None);
    while done < wear.count {
        ask(&mut talk, wear.with, done);
        sent += talk.out.len();
        let answered = talk.until(|heard| match (wear.with, heard) {
            (What::Keys, Heard::Keys(_)) => true,
            (_, Heard::Message(message)) => message.first() == Some(&USERAUTH_FAILURE),
            _ => false,
        });
        match tokio::time::timeout(PATIENCE, answered).await {
            Ok(Ok(())) => done += 1,
            Ok(Err(error)) => end = Some(format!("{error:#}")),
            Err(_) => end = Some("no answer".to_owned()),
        }
        if end.is_some() {
            break;
        }
    }
    let cpu = process::cpu_time(wear.pid).context("the process has ended")?.saturating_sub(cpu_before);
    // Below a hundred, the clock's 10 ms say nothing.
    let each = (done >= 100).then(|| (cpu.as_secs_f64() * 1e6 / f64::from(done)).round());
    Ok(json!({
        "with": format!("{:?}", wear.with).to_lowercase(),
        "answered": done,
        "bytes_each": sent / usize::try_from(done.max(1))?,
        "cpu_us_each": each,
        "ended": end,
    }))
}

fn ask(talk: &mut Talk, what: What, nth: u32) {
    match what {
        What::Keys => talk.client.rekey(&mut talk.out),
        What::Nothing => talk.client.send(&client::none("wear"), &mut talk.out),
        What::Rsa8192 => talk.client.send(&signed(1024, nth), &mut talk.out),
        What::Rsa16384 => talk.client.send(&signed(2048, nth), &mut talk.out),
    }
}

/// A request to log in with an RSA key of so many bytes, different each time, and with a signature of
/// that length which is not its own. The exponent is the largest that the library takes.
fn signed(bytes: usize, nth: u32) -> Vec<u8> {
    let field = |bytes: &[u8]| {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        [&length.to_be_bytes(), bytes].concat()
    };
    let mut modulus = vec![0xd3; bytes + 1];
    modulus[0] = 0;
    modulus[2..6].copy_from_slice(&nth.to_be_bytes());
    let exponent = [1, 0xff, 0xff, 0xff, 0xff];
    let key = [field(b"ssh-rsa"), field(&exponent), field(&modulus)].concat();
    let signature = [field(b"rsa-sha2-512"), field(&vec![0x55; bytes])].concat();
    let mut request = client::offer_key("wear", "rsa-sha2-512", &key);
    // Number, user, service, method; then whether there is a signature.
    let mark = 1 + 4 + "wear".len() + 4 + "ssh-connection".len() + 4 + "publickey".len();
    request[mark] = 1;
    request.extend(field(&signature));
    request
}

/// For one answer.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_request_says_so() {
        let (signed, offered) = (signed(1024, 7), client::offer_key("wear", "rsa-sha2-512", &[]));
        let differing: Vec<_> = (0..offered.len() - 4).filter(|&it| signed[it] != offered[it]).collect();
        assert_eq!(differing.len(), 1, "only the mark");
    }
}
