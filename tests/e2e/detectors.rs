//! What public honeypot detectors look for, as probes of our own with the answer that a genuine
//! server gives. The tells are listed by nmap's service probes, nuclei's honeypot templates and
//! OpenCanary's own habits.

use std::time::Duration;

use serin_tests::{Setup, Talk, client};

/// Everything the server says to these bytes until it hangs up or falls silent.
fn answer(port: u16, said: &[u8]) -> Vec<u8> {
    let mut talk = Talk::to(port);
    talk.say(said);
    talk.while_it_speaks(Duration::from_secs(1))
}

fn holds(bytes: &[u8], words: &str) -> bool {
    bytes.windows(words.len()).any(|it| it == words.as_bytes())
}

#[test]
fn ftp_is_neither_twisted_nor_dionaea() {
    let sensor = Setup::of(&["ftp"]).with("ftp.banner", "(vsFTPd 3.0.3)").start();
    let mut talk = Talk::to(sensor.port("ftp"));
    assert_eq!(talk.until("\r\n"), b"220 (vsFTPd 3.0.3)\r\n");
    let dialogue = [
        (
            "FEAT",
            "211-Features:\r\n EPRT\r\n EPSV\r\n MDTM\r\n PASV\r\n REST STREAM\r\n SIZE\r\n TVFS\r\n211 End\r\n",
        ),
        ("SYST", "530 Please login with USER and PASS.\r\n"),
        ("OPTS UTF8 ON", "200 Always in UTF8 mode.\r\n"),
        ("AUTH TLS", "530 Please login with USER and PASS.\r\n"),
        ("HELP", "530 Please login with USER and PASS.\r\n"),
        ("PASS x", "503 Login with USER first.\r\n"),
        ("USER root", "331 Please specify the password.\r\n"),
        // Dionaea: 500 Syntax error: PASS requires an argument.
        ("PASS", "530 Login incorrect.\r\n"),
        ("QUIT", "221 Goodbye.\r\n"),
    ];
    for (said, wanted) in dialogue {
        talk.say(format!("{said}\r\n"));
        assert_eq!(String::from_utf8_lossy(&talk.until(wanted)), wanted, "to {said}");
    }
    assert_eq!(talk.rest(), Some(Vec::new()));
}

#[test]
fn ftp_answers_a_browser_once() {
    let sensor = Setup::of(&["ftp"]).with("ftp.banner", "(vsFTPd 3.0.3)").start();
    let heard = answer(sensor.port("ftp"), b"GET / HTTP/1.0\r\n\r\n");
    let refusals = heard.windows(4).filter(|it| *it == b"530 ").count();
    assert_eq!(refusals, 1, "{}", heard.escape_ascii());
}

#[test]
fn ftp_lets_a_guesser_wait_as_pam_does() {
    let sensor = Setup::of(&["ftp"]).with("ftp.banner", "(vsFTPd 3.0.3)").with("ftp.login_delay", 3).start();
    let mut talk = Talk::to(sensor.port("ftp"));
    talk.until("220 ");
    talk.say("USER root\r\nPASS x\r\n");
    talk.until("331 ");
    let began = std::time::Instant::now();
    talk.until("530 Login incorrect.\r\n");
    let waited = began.elapsed();
    assert!(waited > Duration::from_secs(2) && waited < Duration::from_secs(5), "{waited:?}");
}

#[test]
fn telnet_never_takes_back_what_it_offered() {
    let sensor = Setup::of(&["telnet"]).start();
    let mut talk = Talk::to(sensor.port("telnet"));
    let greeting = talk.until("sername: ");
    // Cowrie begins with DO NAWS alone; OpenCanary offers BINARY, as no product does.
    assert!(!greeting.starts_with(b"\xff\xfd\x1f"), "{}", greeting.escape_ascii());
    for binary in [b"\xff\xfb\x00", b"\xff\xfd\x00"] {
        assert!(!greeting.windows(3).any(|it| it == binary), "{}", greeting.escape_ascii());
    }
    let offers_echo = greeting.windows(3).any(|it| it == b"\xff\xfb\x01");
    if offers_echo {
        // DO ECHO: accepted already, so nothing may be said against it.
        talk.say(b"\xff\xfd\x01root\r\n");
        let heard = talk.until("assword: ");
        assert!(!heard.windows(3).any(|it| it == b"\xff\xfc\x01"), "{}", heard.escape_ascii());
    }
    assert!(offers_echo, "a telnet server echoes: {}", greeting.escape_ascii());
}

#[test]
fn git_counts_its_bytes() {
    let sensor = Setup::of(&["git"]).start();
    for (said, wanted) in [
        (
            &b"002bgit-upload-pack /nope.git\0host=example\0"[..],
            &b"003bERR access denied or repository not exported: /nope.git"[..],
        ),
        (
            b"002cgit-receive-pack /nope.git\0host=example\0",
            b"003bERR access denied or repository not exported: /nope.git",
        ),
    ] {
        let mut talk = Talk::to(sensor.port("git"));
        talk.say(said);
        let heard = talk.rest().expect("it hangs up");
        assert_eq!(heard, wanted, "{}", heard.escape_ascii());
    }
}

#[test]
fn http_answers_odd_methods_as_the_server_in_the_banner() {
    let nginx = Setup::of(&["http"]).with("http.banner", "nginx/1.22.1").start();
    let port = nginx.port("http");
    // Dionaea: 501 with nginx in the Server header. Genuine: 405, and 400 without a Host.
    let odd = answer(port, b"AAAA / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(
        odd.starts_with(b"HTTP/1.1 405 Not Allowed\r\nServer: nginx/1.22.1\r\nDate: "),
        "{}",
        odd.escape_ascii()
    );
    let garbage = answer(port, b"\x01\x02\x03\r\n\r\n");
    assert!(
        garbage.starts_with(b"HTTP/1.1 400 Bad Request\r\nServer: nginx/1.22.1\r\n"),
        "{}",
        garbage.escape_ascii()
    );
    assert!(holds(&garbage, "<center>nginx/1.22.1</center>"), "{}", garbage.escape_ascii());

    let apache = Setup::of(&["http"]).with("http.banner", "Apache/2.4.62 (Debian)").start();
    let port = apache.port("http");
    let odd = answer(port, b"AAAA / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(odd.starts_with(b"HTTP/1.1 501 Not Implemented\r\nDate: "), "{}", odd.escape_ascii());
    let choices = answer(port, b"OPTIONS / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(!choices.starts_with(b"HTTP/1.1 405 Method Not Allowed\r\n\r\n"), "OpenCanary's bare 405");
    assert!(holds(&choices, "Allow: "), "{}", choices.escape_ascii());
    let head = client("curl", &["-sS", "-I", &format!("http://127.0.0.1:{port}/index.html")]);
    assert!(head.out.starts_with("HTTP/1.1 200 OK"), "HEAD where GET works: {head:?}");
}

#[test]
fn no_page_and_no_certificate_carries_opencanarys_marks() {
    let sensor =
        Setup::of(&["http", "https"]).with("http.skin", "nasLogin").with("https.skin", "nasLogin").start();
    let mut seen = String::new();
    for url in [
        format!("http://127.0.0.1:{}/index.html", sensor.port("http")),
        format!("https://127.0.0.1:{}/index.html", sensor.port("https")),
        format!("http://127.0.0.1:{}/nothing", sensor.port("http")),
        format!("http://127.0.0.1:{}/", sensor.port("http")),
    ] {
        seen.push_str(&client("curl", &["-sSki", "-v", &url]).words());
    }
    for mark in [
        "Synology",
        "DemoSite",
        "1421151203",
        "Huh?",
        "bgcolor=\"#FFFFFF\"",
        "Network Storage v5.13",
        "aiohttp",
    ] {
        assert!(!seen.contains(mark), "{mark} gives us away");
    }
}

#[test]
fn two_installations_share_no_certificate() {
    let certificate = || {
        let sensor = Setup::of(&["https"]).start();
        let target = format!("127.0.0.1:{}", sensor.port("https"));
        let shown = client("openssl", &["s_client", "-connect", &target]).out;
        let (_, after) = shown.split_once("-----BEGIN CERTIFICATE-----").expect("a certificate");
        after.split_once("-----END").expect("its end").0.to_owned()
    };
    assert_ne!(certificate(), certificate());
}

#[test]
fn the_proxy_speaks_as_squid() {
    let sensor = Setup::of(&["httpproxy"]).start();
    let heard =
        answer(sensor.port("httpproxy"), b"GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let text = String::from_utf8_lossy(&heard).into_owned();
    let fields = text.split("\r\n\r\n").next().unwrap_or_default();
    let names: Vec<_> = fields.lines().skip(1).filter_map(|it| it.split(": ").next()).collect();
    assert_eq!(
        names,
        [
            "Server",
            "Mime-Version",
            "Date",
            "Content-Type",
            "Content-Length",
            "X-Squid-Error",
            "Vary",
            "Content-Language",
            "Proxy-Authenticate",
            "X-Cache",
            "X-Cache-Lookup",
            "Via",
            "Connection",
        ],
        "{fields}"
    );
    // OpenCanary asks whoever speaks to it as to a web server for credentials.
    let origin = answer(sensor.port("httpproxy"), b"GET / HTTP/1.0\r\n\r\n");
    assert!(origin.starts_with(b"HTTP/1.1 400 Bad Request\r\n"), "{}", origin.escape_ascii());
    assert!(holds(&origin, "X-Squid-Error: ERR_INVALID_URL 0"), "{}", origin.escape_ascii());
}

#[test]
fn nothing_answers_to_an_nmap_honeypot_signature() {
    // The first bytes of each service, against what nmap's service probes call a honeypot.
    let sensor = Setup::of(&["ftp", "telnet", "http", "httpproxy"]).start();
    let signatures: [&[u8]; 4] = [
        b"---freeFTPd 1.0---warFTPd 1.65---",
        b"220 Welcome to the ftp service",
        b"login: \0",
        b"<head><title>Error response</title></head>",
    ];
    for service in ["ftp", "telnet", "http", "httpproxy"] {
        let heard = answer(sensor.port(service), b"GET / HTTP/1.0\r\n\r\n");
        assert!(!heard.is_empty(), "{service} says nothing");
        for signature in signatures {
            assert!(
                !heard.windows(signature.len()).any(|it| it == signature),
                "{service}: {}",
                heard.escape_ascii()
            );
        }
    }
}
