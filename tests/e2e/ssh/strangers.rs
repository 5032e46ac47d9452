//! Clients that are not OpenSSH: each is refused in its own words, and each password is in the log.

use serin_tests::{Sensor, client_in};

use super::{DENIED, apart, debian, login, logins, python, with_password};

fn root(password: &str) -> (String, String) {
    ("root".to_owned(), password.to_owned())
}

/// The introduction that the log holds of the only client there was.
#[track_caller]
fn remote(sensor: &Sensor) -> String {
    let event = &sensor.wait_for(4002, 1)[0];
    event.json["logdata"]["REMOTEVERSION"].as_str().expect("a text").to_owned()
}

#[test]
fn plink_shows_the_fingerprint_and_is_refused() {
    let sensor = debian();
    let port = sensor.port("ssh").to_string();
    let plink = |more: &[&str]| {
        let first = ["-batch", "-ssh", "-P", &port, "-pw", "s3cret"];
        client_in(sensor.folder(), "plink", &[&first[..], more, &["root@127.0.0.1", "true"]].concat(), "")
    };
    let stranger = plink(&[]);
    assert_eq!(stranger.status, 1, "{stranger:?}");
    assert!(stranger.err.contains("The server's ssh-ed25519 key fingerprint is:"), "{stranger:?}");
    let fingerprint = stranger.err.split_whitespace().find(|it| it.starts_with("SHA256:"));
    let outcome = plink(&["-hostkey", fingerprint.expect("a fingerprint")]);
    assert_eq!(outcome.status, 1, "{outcome:?}");
    assert!(outcome.err.contains("Access denied"), "{outcome:?}");
    assert!(outcome.err.contains("FATAL ERROR: Configured password was not accepted"), "{outcome:?}");
    assert_eq!(logins(&sensor, 1), [root("s3cret")]);
    assert!(remote(&sensor).starts_with("SSH-2.0-PuTTY_"), "{}", remote(&sensor));
}

/// OpenCanary loses every one of these before the password.
#[test]
fn dbclient_tries_until_it_is_sent_away() {
    let sensor = debian();
    let port = sensor.port("ssh").to_string();
    let command = ["DROPBEAR_PASSWORD=drop", "dbclient", "-y", "-y", "-p", &port, "root@127.0.0.1", "true"];
    let outcome = client_in(sensor.folder(), "env", &command, "");
    assert!(outcome.err.contains("exited: Disconnect received"), "{outcome:?}");
    // The variable answers once; whoever has no terminal has nothing else to say.
    assert_eq!(logins(&sensor, 6), ["", "", "", "", "", "drop"].map(root));
    assert!(remote(&sensor).starts_with("SSH-2.0-dropbear"), "{}", remote(&sensor));
}

#[test]
fn paramiko_is_refused() {
    let sensor = debian();
    let script = "import sys, paramiko
c = paramiko.SSHClient()
c.set_missing_host_key_policy(paramiko.AutoAddPolicy())
for password in ('one', 'two'):
  try:
    c.connect('127.0.0.1', int(sys.argv[1]), 'root', password, allow_agent=False, look_for_keys=False)
  except Exception as e:
    print(type(e).__name__, e)
  t = c._transport
  print(t.remote_version, t.host_key_type, t.local_cipher)
t = paramiko.Transport(('127.0.0.1', int(sys.argv[1])))
t.connect()
for password in ('three', 'four'):
  try:
    t.auth_password('root', password)
  except Exception as e:
    print(type(e).__name__, e)
try:
  t.auth_none('root')
except Exception as e:
  print(type(e).__name__, e.allowed_types)
try:
  t.auth_password('admin', 'five')
except Exception as e:
  print(type(e).__name__, e)
t.close()";
    let outcome = python(&sensor, script);
    let refused = "AuthenticationException Authentication failed.";
    let server = format!("{} ssh-ed25519 aes128-ctr", super::DEBIAN);
    let wanted = format!(
        "{refused}\n{server}\n{refused}\n{server}\n{refused}\n{refused}\nBadAuthenticationType ['publickey', 'password']\n\
         AuthenticationException Authentication failed: transport shut down or saw EOF\n"
    );
    assert_eq!(outcome.out, wanted, "{outcome:?}");
    // A change of the user name ends the connection, and the password that came with it is kept.
    let mut wanted = vec![("admin".to_owned(), "five".to_owned())];
    wanted.extend(["four", "one", "three", "two"].map(root));
    assert_eq!(logins(&sensor, 5), wanted);
    assert!(remote(&sensor).starts_with("SSH-2.0-paramiko_"), "{}", remote(&sensor));
}

#[test]
fn asyncssh_is_refused() {
    let sensor = debian();
    let script = "import asyncio, asyncssh, sys
async def visit():
  try:
    await asyncssh.connect('127.0.0.1', int(sys.argv[1]), username='root', password='p\\u00e4ss', known_hosts=None,
      client_keys=[], agent_path=None, config=[])
  except Exception as e:
    print(type(e).__name__, e)
asyncio.run(visit())";
    let outcome = python(&sensor, script);
    let wanted = "PermissionDenied Permission denied for user root on host 127.0.0.1\n";
    assert_eq!(outcome.out, wanted, "{outcome:?}");
    assert_eq!(logins(&sensor, 1), [root("p\u{e4}ss")]);
    assert!(remote(&sensor).starts_with("SSH-2.0-AsyncSSH_"), "{}", remote(&sensor));
}

#[test]
fn libssh_is_refused() {
    let sensor = debian();
    let script = "import sys
from pylibsshext.session import Session
try:
  Session().connect(host='127.0.0.1', port=int(sys.argv[1]), user='root', password='lib', host_key_checking=False,
    look_for_keys=False)
except Exception as e:
  print(type(e).__name__, e)";
    let outcome = python(&sensor, script);
    let wanted = "LibsshSessionException Failed to authenticate with password: Access denied for 'password'. \
                  Authentication that can continue: publickey,password\n";
    assert_eq!(outcome.out, wanted, "{outcome:?}");
    assert_eq!(logins(&sensor, 1), [root("lib")]);
    assert!(remote(&sensor).starts_with("SSH-2.0-libssh_"), "{}", remote(&sensor));
}

/// curl speaks with libssh2.
#[test]
fn curl_is_refused() {
    let sensor = debian();
    for scheme in ["sftp", "scp"] {
        let url = format!("{scheme}://root:{scheme}-pw@127.0.0.1:{}/etc/passwd", sensor.port("ssh"));
        let outcome = client_in(sensor.folder(), "curl", &["-sSk", &url], "");
        assert_eq!((outcome.status, outcome.err.trim_end()), (67, "curl: (67) Authentication failure"));
    }
    assert_eq!(logins(&sensor, 2), ["scp-pw", "sftp-pw"].map(root));
    assert!(remote(&sensor).starts_with("SSH-2.0-libssh2_"), "{}", remote(&sensor));
}

/// rclone speaks with Go's x/crypto.
#[test]
fn rclone_is_refused() {
    let sensor = debian();
    let port = sensor.port("ssh").to_string();
    let run = |arguments: &[&str]| client_in(sensor.folder(), "rclone", arguments, "");
    let password = run(&["obscure", "go-pw"]).out;
    let options =
        ["--config", "/dev/null", "--retries", "1", "--low-level-retries", "1", "--sftp-host", "127.0.0.1"];
    let user = ["--sftp-port", &port, "--sftp-user", "root", "--sftp-pass", password.trim_end()];
    let outcome = run(&[&options[..], &user, &["lsd", ":sftp:"]].concat());
    assert_eq!(outcome.status, 1, "{outcome:?}");
    let words = "ssh: unable to authenticate, attempted methods [none password], no supported methods remain";
    assert!(outcome.err.contains(words), "{outcome:?}");
    assert_eq!(logins(&sensor, 1), [root("go-pw")]);
    // It introduces itself as rclone, not as Go.
    let event = &sensor.wait_for(4002, 1)[0];
    assert_eq!(event.json["logdata"], login(&sensor, &remote(&sensor), "root", "go-pw"));
}

#[test]
fn lftp_is_refused() {
    let sensor = debian();
    let port = sensor.port("ssh").to_string();
    let connect = format!("ssh -a -x {}", apart(sensor.port("ssh")).join(" "));
    let script =
        format!("set net:max-retries 1; set net:timeout 20; set sftp:connect-program '{connect}'; ls; quit");
    let outcome = client_in(
        sensor.folder(),
        "lftp",
        &["-u", "root,lftp-pw", "-p", &port, "-e", &script, "sftp://127.0.0.1"],
        "",
    );
    assert!(outcome.err.contains(DENIED), "{outcome:?}");
    assert_eq!(logins(&sensor, 1), [root("lftp-pw")]);
}

/// What cannot be text reaches the log all the same, and long ones are cut.
#[test]
fn passwords_need_not_be_text() {
    let sensor = debian();
    let apart = apart(sensor.port("ssh"));
    let mut all = vec!["ssh"];
    all.extend(apart.iter().map(String::as_str));
    all.extend(["root@127.0.0.1", "true"]);
    let long = "x".repeat(900);
    for password in ["\"quoted\" \\ \u{1f511}", &long] {
        assert_eq!(with_password(sensor.folder(), password, &all).status, 255);
    }
    let found = logins(&sensor, 2);
    assert_eq!(found[0].1, "\"quoted\" \\ \u{1f511}");
    assert!(long.starts_with(&found[1].1[..100]), "{found:?}");
}
