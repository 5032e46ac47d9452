//! SSH from the client's side, with the client that Serin brings: one login.

use anyhow::{Context as _, Result, bail};
use serin_services::ssh::client::{self, Client, Heard, Offer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Algorithms;

/// A client that offers these and nothing else, as a stock OpenSSH 9.2 names itself.
pub(crate) fn offer(algorithms: &Algorithms) -> Offer {
    let Algorithms { kex, host_key, cipher, mac, compression, group } = algorithms.clone();
    Offer {
        identification: "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10".into(),
        kex: vec![kex, "ext-info-c".into(), "kex-strict-c-v00@openssh.com".into()],
        host_keys: vec![host_key],
        ciphers: vec![cipher],
        macs: vec![mac],
        compression: vec![compression],
        group_bits: group,
        ..Offer::default()
    }
}

/// One wrong password for the user `marker`, until it is refused.
pub(crate) async fn login(stream: TcpStream, marker: &str, offer: &Offer) -> Result<()> {
    // As ssh(1) does before the login: two messages in a row do not wait for an acknowledgement.
    stream.set_nodelay(true)?;
    let mut talk = Talk::new(stream, marker, offer);
    talk.ask_for_authentication().await?;
    talk.client.send(&client::password(marker, "hunter2"), &mut talk.out);
    talk.until(|it| is_message(it, USERAUTH_FAILURE)).await?;
    talk.client.send(&client::disconnect(BY_APPLICATION, ""), &mut talk.out);
    talk.leave().await
}

/// One connection: the client, its socket, and what it has to say.
pub(crate) struct Talk {
    pub(crate) stream: TcpStream,
    pub(crate) client: Client,
    pub(crate) out: Vec<u8>,
}

impl Talk {
    /// The marker takes the place of randomness: nobody else is to be kept from reading this.
    pub(crate) fn new(stream: TcpStream, marker: &str, offer: &Offer) -> Self {
        let mut secret = [0; 32];
        secret.iter_mut().zip(marker.bytes()).for_each(|(to, from)| *to = from);
        let mut client = Client::new(offer.clone(), secret);
        let out = client.open();
        Self { stream, client, out }
    }

    /// Agrees on keys, and asks for the service that all logins begin with.
    pub(crate) async fn ask_for_authentication(&mut self) -> Result<()> {
        self.until(|it| matches!(it, Heard::Keys(_))).await?;
        self.client.send(&client::service_request("ssh-userauth"), &mut self.out);
        self.until(|it| is_message(it, SERVICE_ACCEPT)).await
    }

    /// Says what there is to say, and listens until something has come that is `awaited`.
    pub(crate) async fn until(&mut self, awaited: impl Fn(&Heard) -> bool) -> Result<()> {
        loop {
            if self.exchange().await?.iter().any(&awaited) {
                return Ok(());
            }
        }
    }

    /// Says what there is to say, and hears what has come.
    pub(crate) async fn exchange(&mut self) -> Result<Vec<Heard>> {
        let mut heard = [0; 8192];
        self.say().await?;
        let count = self.stream.read(&mut heard).await.context("cannot listen")?;
        if count == 0 {
            bail!("hung up");
        }
        Ok(self.client.input(heard.get(..count).unwrap_or_default(), &mut self.out)?)
    }

    /// Says what there is to say.
    pub(crate) async fn say(&mut self) -> Result<()> {
        self.stream.write_all(&self.out).await.context("cannot send")?;
        self.out.clear();
        Ok(())
    }

    /// Says the last word, and listens until the server hangs up.
    async fn leave(mut self) -> Result<()> {
        self.say().await?;
        let mut rest = [0; 512];
        // A server that is left need not say goodbye.
        while matches!(self.stream.read(&mut rest).await, Ok(count) if count > 0) {}
        Ok(())
    }
}

/// Whether this is the message of that number.
fn is_message(heard: &Heard, number: u8) -> bool {
    matches!(heard, Heard::Message(message) if message.first() == Some(&number))
}

const SERVICE_ACCEPT: u8 = 6;
pub(crate) const USERAUTH_FAILURE: u8 = 51;
/// `SSH_DISCONNECT_BY_APPLICATION`.
const BY_APPLICATION: u32 = 11;
