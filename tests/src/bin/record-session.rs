//! Records what a real client and a service say to each other, as a session that replays:
//! `record-session SERVICE PORT < HEAD > NAME.session`.
//!
//! Listens on the loopback port, takes one client, and answers at once what the service would answer
//! after its waits. HEAD are the first lines of the session: a remark which client spoke, and
//! settings. The session is printed when either side hangs up.

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use serin_services::replay::Recording;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [service, port] = arguments.as_slice() else {
        return Err("usage: record-session SERVICE PORT < HEAD > NAME.session".into());
    };
    let service = serin_services::find(service).ok_or_else(|| format!("there is no service {service}"))?;
    let head = std::io::read_to_string(std::io::stdin())?;
    let listener = TcpListener::bind(("127.0.0.1", port.parse()?))?;
    eprintln!("{} waits for one client on {}", service.name, listener.local_addr()?);
    let (mut client, _) = listener.accept()?;
    let (mut recording, greeting) = Recording::new(service, &head);
    client.write_all(&greeting)?;
    let mut buffer = vec![0; 64 * 1024];
    while !recording.ended() {
        // A client that resets the connection has hung up too.
        let count = client.read(&mut buffer).unwrap_or(0);
        if count == 0 {
            break;
        }
        let answer = recording.hear(&buffer[..count]);
        if client.write_all(&answer).is_err() {
            break;
        }
    }
    drop(client);
    print!("{}", recording.finish());
    Ok(())
}
