//! What follows when chosen credentials are let in: clients see an account that may not log in
//! (nologin(8)), and everything they ask for is in the log.

use std::fs;

use serde_json::{Value, json};
use serin_tests::{Outcome, Sensor, client_in};

use super::{DEBIAN, apart, each, logins, python, speaking_as, with_password};

/// What nologin(8) says.
const NOLOGIN: &str = "This account is currently not available.\n";

fn open_house() -> Sensor {
    speaking_as(DEBIAN).with("ssh.accept", json!([{ "username": "root", "password": "letmein" }])).start()
}

/// Runs ssh(1) with the right password and these arguments around the host.
#[track_caller]
fn let_in(sensor: &Sensor, options: &[&str], command: &[&str]) -> Outcome {
    let apart = apart(sensor.port("ssh"));
    let mut all = vec!["ssh"];
    all.extend(options);
    all.extend(apart.iter().map(String::as_str));
    all.push("root@127.0.0.1");
    all.extend(command);
    with_password(sensor.folder(), "letmein", &all)
}

/// `REQUEST` and `COMMAND` of everything that was asked for, in order.
#[track_caller]
fn requests(sensor: &Sensor, count: usize) -> Vec<(String, String)> {
    let found = sensor.wait_for(21114, count);
    assert_eq!(found.len(), count, "{found:#?}");
    let text = |it: &Value| it.as_str().expect("a text").to_owned();
    found
        .iter()
        .map(|it| {
            let data = &it.json["logdata"];
            assert_eq!(data["USERNAME"], "root", "{}", it.line);
            (text(&data["REQUEST"]), text(&data["COMMAND"]))
        })
        .collect()
}

#[test]
fn a_command_is_recorded_and_answered_by_nologin() {
    let sensor = open_house();
    let outcome = let_in(&sensor, &[], &["cat", "/etc/shadow;", "id"]);
    assert_eq!((outcome.status, outcome.out.as_str()), (1, NOLOGIN), "{outcome:?}");
    assert_eq!(requests(&sensor, 1), [("exec".to_owned(), "cat /etc/shadow; id".to_owned())]);
    assert_eq!(logins(&sensor, 1), [("root".to_owned(), "letmein".to_owned())]);
    assert_eq!(sensor.details(4002)[0]["ACCEPTED"], true);
    let apart = apart(sensor.port("ssh"));
    let mut all = vec!["ssh"];
    all.extend(apart.iter().map(String::as_str));
    all.push("root@127.0.0.1");
    let wrong = with_password(sensor.folder(), "other", &all);
    assert_eq!(wrong.status, 255, "{wrong:?}");
    assert_eq!(logins(&sensor, 2)[1].1, "other");
}

/// Compression begins with the login; keys change after each kilobyte, on the client's initiative.
#[test]
fn compression_and_new_keys_on_the_way_change_nothing() {
    let sensor = open_house();
    let long = format!("echo {}", "x".repeat(2500));
    let options: [&[&str]; 4] = [
        &["-C"],
        &["-o", "RekeyLimit=1K"],
        &["-C", "-o", "RekeyLimit=1K", "-o", "Ciphers=aes128-gcm@openssh.com"],
        &["-o", "RekeyLimit=1K", "-o", "Ciphers=aes192-ctr", "-o", "MACs=umac-64@openssh.com"],
    ];
    for outcome in each(&options, |it| let_in(&sensor, it, &[&long])) {
        assert_eq!((outcome.status, outcome.out.as_str()), (1, NOLOGIN), "{outcome:?}");
    }
    assert_eq!(requests(&sensor, 4), vec![("exec".to_owned(), long); 4]);
}

#[test]
fn shells_are_recorded_and_closed() {
    let sensor = open_house();
    let plain = let_in(&sensor, &[], &[]);
    assert_eq!((plain.status, plain.out.as_str()), (1, NOLOGIN), "{plain:?}");
    assert_eq!(requests(&sensor, 1), [("shell".to_owned(), String::new())]);
    let terminal = let_in(&sensor, &["-tt", "-o", "SetEnv=LANG=xx_YY.UTF-8"], &[]);
    assert_eq!(terminal.status, 1, "{terminal:?}");
    assert!(terminal.out.contains(NOLOGIN.trim_end()), "{terminal:?}");
    assert_eq!(requests(&sensor, 2)[1], ("shell".to_owned(), String::new()));
    let details = &sensor.details(21114)[1];
    assert!(details["TERMINAL"].is_string(), "{details}");
    assert_eq!(details["ENVIRONMENT"]["LANG"], "xx_YY.UTF-8", "{details}");
}

/// Programs that expect their own protocol on the other side meet nologin's words instead.
#[test]
fn file_transfers_end_as_with_nologin() {
    let sensor = open_house();
    let folder = sensor.folder();
    fs::write(folder.join("loot"), "x").expect("a file");
    let apart = apart(sensor.port("ssh"));
    let apart: Vec<_> = apart.iter().map(String::as_str).collect();
    let shell = format!("ssh {}", apart.join(" "));
    let long = "Received message too long 1416128883";
    let commands: [(Vec<&str>, i32, &str); 4] = [
        ([&["sftp"], &apart[..], &["root@127.0.0.1"]].concat(), 255, long),
        ([&["scp"], &apart[..], &["loot", "root@127.0.0.1:/tmp/loot"]].concat(), 255, long),
        ([&["scp", "-O"], &apart[..], &["loot", "root@127.0.0.1:/tmp/loot"]].concat(), 1, NOLOGIN),
        (vec!["rsync", "-e", &shell, "loot", "root@127.0.0.1:/tmp/loot"], 2, "is your shell clean?"),
    ];
    let outcomes = each(&commands, |(command, _, _)| with_password(folder, "letmein", command));
    for ((command, status, words), outcome) in commands.iter().zip(outcomes) {
        assert_eq!(outcome.status, *status, "{command:?}: {outcome:?}");
        assert!(outcome.words().contains(words), "{command:?}: {outcome:?}");
    }
    let mut asked = requests(&sensor, 4);
    asked.sort();
    let pair = |request: &str, command: &str| (request.to_owned(), command.to_owned());
    assert!(asked[0].1.starts_with("rsync --server"), "{asked:?}");
    assert_eq!(asked[1], pair("exec", "scp -t /tmp/loot"));
    assert_eq!(asked[2..], [pair("subsystem", "sftp"), pair("subsystem", "sftp")]);
}

/// Nothing is ever forwarded anywhere, and what was wanted is in the log.
#[test]
fn forwarding_is_recorded_and_refused() {
    let sensor = open_house();
    let direct = let_in(&sensor, &["-W", "192.0.2.7:25"], &[]);
    assert_eq!(direct.status, 255, "{direct:?}");
    assert!(direct.err.contains("stdio forwarding failed"), "{direct:?}");
    let listen = ["-N", "-o", "ExitOnForwardFailure=yes", "-R", "8081:127.0.0.1:1"];
    let back = let_in(&sensor, &listen, &[]);
    assert_eq!(back.status, 255, "{back:?}");
    let asked = requests(&sensor, 2);
    assert_eq!([asked[0].0.as_str(), asked[1].0.as_str()], ["direct-tcpip", "tcpip-forward"]);
    let details = sensor.details(21114);
    assert_eq!((&details[0]["HOST"], &details[0]["PORT"]), (&json!("192.0.2.7"), &json!(25)));
    assert_eq!(details[1]["PORT"], 8081);
}

/// As Ansible does: one connection, many sessions.
#[test]
fn several_sessions_share_a_connection() {
    let sensor = open_house();
    let socket = format!("ControlPath={}/mux", sensor.folder().display());
    let share = ["-o", "ControlMaster=auto", "-o", "ControlPersist=60", "-o", &socket];
    for command in ["first", "second"] {
        let outcome = let_in(&sensor, &share, &[command]);
        assert_eq!((outcome.status, outcome.out.as_str()), (1, NOLOGIN), "{outcome:?}");
    }
    let over = let_in(&sensor, &["-o", &socket, "-O", "exit"], &[]);
    assert_eq!(over.status, 0, "{over:?}");
    let wanted = ["first", "second"].map(|it| ("exec".to_owned(), it.to_owned()));
    assert_eq!(requests(&sensor, 2), wanted);
    assert_eq!(logins(&sensor, 1).len(), 1);
}

#[test]
fn libraries_are_let_in_too() {
    let sensor = open_house();
    let paramiko = "import paramiko, sys
c = paramiko.SSHClient()
c.set_missing_host_key_policy(paramiko.AutoAddPolicy())
c.connect('127.0.0.1', int(sys.argv[1]), 'root', 'letmein', allow_agent=False, look_for_keys=False)
_, out, _ = c.exec_command('uname -a')
print(out.read(), out.channel.recv_exit_status())
try:
  c.open_sftp()
except Exception as e:
  print('no sftp')
try:
  c.get_transport().open_channel('direct-tcpip', ('192.0.2.7', 80), ('127.0.0.1', 1))
except paramiko.ChannelException as e:
  print(e.code)
c.close()";
    let asyncssh = "import asyncio, asyncssh, sys
async def visit():
  async with asyncssh.connect('127.0.0.1', int(sys.argv[1]), username='root', password='letmein', known_hosts=None,
      client_keys=[], agent_path=None, config=[]) as c:
    found = await c.run('uname -r')
    print(found.stdout, found.exit_status)
asyncio.run(visit())";
    let libssh = "import sys
from pylibsshext.session import Session
s = Session()
s.connect(host='127.0.0.1', port=int(sys.argv[1]), user='root', password='letmein', host_key_checking=False,
  look_for_keys=False)
found = s.new_channel().exec_command('uname -s')
print(found.stdout, found.returncode)";
    let scripts = [
        (paramiko, format!("b'{0}\\n' 1\nno sftp\n1\n", NOLOGIN.trim_end())),
        (asyncssh, format!("{NOLOGIN} 1\n")),
        (libssh, format!("b'{0}\\n' 1\n", NOLOGIN.trim_end())),
    ];
    let outcomes = each(&scripts, |(script, _)| python(&sensor, script));
    for ((_, wanted), outcome) in scripts.iter().zip(outcomes) {
        assert_eq!(outcome.out, *wanted, "{outcome:?}");
    }
    let asked: Vec<_> = requests(&sensor, 5).into_iter().map(|it| it.1).collect();
    for command in ["uname -a", "uname -r", "uname -s", "sftp"] {
        assert!(asked.iter().any(|it| it == command), "{command}: {asked:?}");
    }
    let port = sensor.port("ssh").to_string();
    let dbclient = ["DROPBEAR_PASSWORD=letmein", "dbclient", "-y", "-y", "-p", &port, "root@127.0.0.1", "w"];
    let dbclient = client_in(sensor.folder(), "env", &dbclient, "");
    assert_eq!((dbclient.status, dbclient.out.as_str()), (1, NOLOGIN), "{dbclient:?}");
}
