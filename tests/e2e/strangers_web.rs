//! HTTP, HTTPS and the HTTP proxy, played by the programs that people and intruders use.

use std::fs;

use serin_tests::{Sensor, Setup, client, client_in};

fn web() -> Sensor {
    Setup::of(&["http"]).with("http.skin", "nasLogin").start()
}

/// Fields of the first event of a kind.
#[track_caller]
fn fields(sensor: &Sensor, logtype: u64, names: &[&str]) -> Vec<String> {
    let event = &sensor.wait_for(logtype, 1)[0];
    names.iter().map(|it| event.json["logdata"][it].as_str().unwrap_or("(none)").to_owned()).collect()
}

#[test]
fn curl_gets_the_login_page_and_leaves_its_name() {
    let sensor = web();
    let url = format!("http://127.0.0.1:{}/index.html?a=b", sensor.port("http"));
    let outcome = client("curl", &["-sS", "-i", "-A", "probe/1", &url]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    assert!(outcome.out.starts_with("HTTP/1.1 200 OK\r\n"), "{outcome:?}");
    assert!(outcome.out.contains("password"), "the page asks for no password: {outcome:?}");
    let names = ["HOSTNAME", "PATH", "SKIN", "USERAGENT"];
    assert_eq!(fields(&sensor, 3000, &names), ["127.0.0.1", "/index.html", "nasLogin", "probe/1"]);
}

#[test]
fn curl_logs_in_by_form_and_is_told_off() {
    let sensor = web();
    let url = format!("http://127.0.0.1:{}/index.html", sensor.port("http"));
    let outcome = client("curl", &["-sS", "-d", "username=admin&password=p%26w%C3%A9+x", &url]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    assert_eq!(fields(&sensor, 3001, &["USERNAME", "PASSWORD"]), ["admin", "p&wé x"]);
    let multipart = client("curl", &["-sS", "-F", "username=multi", "-F", "password=part", &url]);
    assert_eq!(multipart.status, 0, "{multipart:?}");
    let events = sensor.wait_for(3001, 2);
    assert_eq!(events[1].json["logdata"]["USERNAME"], "multi");
    assert_eq!(events[1].json["logdata"]["PASSWORD"], "part");
}

#[test]
fn wget_gets_the_page() {
    let sensor = web();
    let url = format!("http://127.0.0.1:{}/", sensor.port("http"));
    let outcome = client_in(sensor.folder(), "wget", &["-t", "1", "-O", "page.html", &url], "");
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let page = fs::read_to_string(sensor.folder().join("page.html")).expect("a page");
    assert!(page.contains("<form"), "{page}");
    // Corrected: OpenCanary says nothing of the first request, which is sent on.
    let paths: Vec<_> =
        sensor.wait_for(3000, 2).iter().map(|it| it.json["logdata"]["PATH"].clone()).collect();
    assert_eq!(paths, ["/", "/index.html"]);
}

#[test]
fn pythons_http_client_keeps_its_connection() {
    let sensor = web();
    let script = format!(
        "import http.client\nc = http.client.HTTPConnection('127.0.0.1', {}, timeout=10)\n\
         for path in ('/index.html', '/nothing-here', '/index.html'):\n  c.request('GET', path)\n  r = c.getresponse()\n  \
         n = len(r.read())\n  print(r.status, r.version, int(r.headers['Content-Length']) == n)\n\
         c.request('HEAD', '/index.html')\nr = c.getresponse()\nprint(r.status, len(r.read()))",
        sensor.port("http")
    );
    let outcome = client("python3", &["-c", &script]);
    assert_eq!(outcome.out, "200 11 True\n404 11 True\n200 11 True\n200 0\n", "{outcome:?}");
    let pages = sensor.wait_for(3000, 2);
    assert_eq!(pages[0].json["src_port"], pages[1].json["src_port"], "one connection");
}

#[test]
fn pythons_requests_posts_a_login() {
    let sensor = web();
    let script = format!(
        "import requests\nr = requests.post('http://127.0.0.1:{}/index.html', data={{'username': 'u', 'password': 'p'}}, \
         timeout=10)\nprint(r.status_code, r.headers['Server'])",
        sensor.port("http")
    );
    let outcome = client("python3", &["-c", &script]);
    assert_eq!(outcome.status, 0, "{outcome:?}; ./test e2e runs this with the right python3");
    assert_eq!(outcome.out, "200 Apache/2.2.22 (Ubuntu)\n", "{outcome:?}");
    let agent = fields(&sensor, 3001, &["USERAGENT"]).remove(0);
    assert!(agent.starts_with("python-requests/"), "{agent}");
}

#[test]
fn hydra_guesses_at_the_login_form_in_vain() {
    let sensor = web();
    let (users, passwords) = (sensor.folder().join("users"), sensor.folder().join("passwords"));
    fs::write(&users, "root\nadmin\n").expect("a file");
    fs::write(&passwords, "alpha1\nbeta2\n").expect("a file");
    let port = sensor.port("http").to_string();
    let refused = client(
        "curl",
        &["-sS", "-d", "username=x&password=y", &format!("http://127.0.0.1:{port}/index.html")],
    );
    let asked = client("curl", &["-sS", &format!("http://127.0.0.1:{port}/index.html")]);
    assert_ne!(refused.out, asked.out, "a refusal must show");
    let form = "/index.html:username=^USER^&password=^PASS^:F=<form";
    let (users, passwords) = (users.display().to_string(), passwords.display().to_string());
    let outcome = client_in(
        sensor.folder(),
        "hydra",
        &["-I", "-t", "2", "-L", &users, "-P", &passwords, "-s", &port, "127.0.0.1", "http-post-form", form],
        "",
    );
    assert!(outcome.out.contains("0 valid password found"), "{outcome:?}");
    let mut guessed: Vec<_> = sensor
        .wait_for(3001, 5)
        .iter()
        .skip(1)
        .map(|it| format!("{} {}", it.json["logdata"]["USERNAME"], it.json["logdata"]["PASSWORD"]))
        .collect();
    guessed.sort();
    let wanted = ["\"admin\" \"alpha1\"", "\"admin\" \"beta2\"", "\"root\" \"alpha1\"", "\"root\" \"beta2\""];
    assert_eq!(guessed, wanted);
}

/// nmap's words about the server on this port.
fn named_by_nmap(sensor: &Sensor, service: &str) -> String {
    let port = sensor.port(service).to_string();
    let outcome = client_in(sensor.folder(), "nmap", &["-n", "-Pn", "-sV", "-p", &port, "127.0.0.1"], "");
    assert!(!outcome.out.contains("services unrecognized"), "{}", outcome.out);
    let wanted = format!("{port}/tcp");
    let line = outcome.out.lines().find(|it| it.starts_with(&wanted)).unwrap_or_default();
    line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
}

#[test]
fn nmap_names_the_web_server_of_the_banner() {
    let nginx = Setup::of(&["http"]).with("http.banner", "nginx/1.22.1").start();
    assert_eq!(named_by_nmap(&nginx, "http"), "open http nginx 1.22.1");
    let apache = Setup::of(&["http"]).with("http.banner", "Apache/2.4.62 (Debian)").start();
    assert_eq!(named_by_nmap(&apache, "http"), "open http Apache httpd 2.4.62 ((Debian))");
}

#[test]
fn nmap_names_the_tls_web_server_of_the_banner() {
    let sensor = Setup::of(&["https"]).with("http.banner", "nginx/1.22.1").start();
    assert_eq!(named_by_nmap(&sensor, "https"), "open ssl/http nginx 1.22.1");
}

#[test]
fn https_shows_a_certificate_of_its_own() {
    let sensor = Setup::of(&["https"]).start();
    let url = format!("https://localhost:{}/index.html", sensor.port("https"));
    let trusting = client("curl", &["-sS", "-k", "-d", "username=tls&password=pw", &url]);
    assert_eq!(trusting.status, 0, "{trusting:?}");
    let careful = client("curl", &["-sS", &url]);
    assert_eq!(careful.status, 60, "a made certificate is not trusted: {careful:?}");
    let event = &sensor.wait_for(3001, 1)[0];
    assert_eq!(event.json["logdata"]["USERNAME"], "tls");
    assert_eq!(event.json["dst_port"], sensor.port("https"));
    let shown = client(
        "openssl",
        &["s_client", "-connect", &format!("127.0.0.1:{}", sensor.port("https")), "-showcerts"],
    );
    assert!(!shown.out.contains("Synology"), "{}", shown.out);
    assert!(shown.out.contains("BEGIN CERTIFICATE"), "{}", shown.out);
}

#[test]
fn tls_speaks_what_is_current_and_nothing_older() {
    let sensor = Setup::of(&["https"]).start();
    let target = format!("127.0.0.1:{}", sensor.port("https"));
    let scan = client("sslscan", &["--no-colour", &target]);
    assert_eq!(scan.status, 0, "{scan:?}");
    for line in ["TLSv1.2   enabled", "TLSv1.3   enabled", "SSLv3     disabled", "TLSv1.1   disabled"] {
        assert!(scan.out.contains(line), "{line}: {}", scan.out);
    }
}

#[test]
fn curl_is_refused_by_the_proxy_and_leaves_its_credentials() {
    let sensor = Setup::of(&["httpproxy"]).start();
    let proxy = format!("http://u%3Aser:p4ss@127.0.0.1:{}", sensor.port("httpproxy"));
    let plain = client("curl", &["-sS", "-i", "-x", &proxy, "http://files.example/a?b=c"]);
    assert_eq!(plain.status, 0, "{plain:?}");
    assert!(plain.out.starts_with("HTTP/1.1 407 Proxy Authentication Required\r\n"), "{plain:?}");
    let tunnel = client("curl", &["-sS", "-x", &proxy, "https://files.example/"]);
    assert_eq!(tunnel.status, 56, "{tunnel:?}");
    assert!(tunnel.err.contains("407"), "{tunnel:?}");
    let events = sensor.wait_for(7001, 2);
    assert_eq!(events[0].json["logdata"]["URL"], "http://files.example/a?b=c");
    assert_eq!(events[0].json["logdata"]["METHOD"], "GET");
    assert_eq!(events[1].json["logdata"]["METHOD"], "CONNECT");
    for event in &events {
        // Basic cannot carry a colon in the name: it ends at the first.
        assert_eq!(event.json["logdata"]["USERNAME"], "u", "{}", event.line);
        assert_eq!(event.json["logdata"]["PASSWORD"], "ser:p4ss", "{}", event.line);
    }
}

#[test]
fn hydra_guesses_at_the_proxy_in_vain() {
    let sensor = Setup::of(&["httpproxy"]).start();
    let port = sensor.port("httpproxy").to_string();
    let outcome = client_in(
        sensor.folder(),
        "hydra",
        &["-I", "-t", "1", "-l", "root", "-p", "letmein", "-s", &port, "127.0.0.1", "http-proxy"],
        "",
    );
    assert!(outcome.out.contains("0 valid password found"), "{outcome:?}");
    let guesses = sensor.wait_for(7001, 1);
    assert!(guesses.iter().any(|it| it.json["logdata"]["PASSWORD"] == "letmein"), "{guesses:#?}");
}

#[test]
fn nmap_names_the_proxy() {
    let sensor = Setup::of(&["httpproxy"]).start();
    let named = named_by_nmap(&sensor, "httpproxy");
    assert!(named.starts_with("open http-proxy Squid http proxy "), "{named}");
}

#[test]
fn nmap_does_not_find_an_open_proxy() {
    let sensor = Setup::of(&["httpproxy"]).start();
    let port = sensor.port("httpproxy").to_string();
    let outcome = client_in(
        sensor.folder(),
        "nmap",
        &["-n", "-Pn", "-p", &port, "--script", "http-open-proxy", "127.0.0.1"],
        "",
    );
    assert!(!outcome.out.contains("open proxy"), "{}", outcome.out);
    assert!(outcome.out.contains("open"), "{}", outcome.out);
}
