//! Whatever is wrong or worth knowing is told at once, in words that help.

use super::*;

/// Everything that is printed about a file.
fn told(file: &str, text: &str, variables: &[(&str, &str)]) -> String {
    let mut out = Vec::new();
    check::tell(&parse(file, text, variables), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_misspelt_key_of_bait_is_told_and_is_a_mistake_in_a_file_of_ours() {
    let old = r#""telnet.honeycreds": [{"user": "svc", "passwd": "x"}, {}], "telnet.enabled": true"#;
    let config = opencanary(old).unwrap();
    assert_eq!(
        notes(&config),
        [
            "4:23  telnet.honeycreds.0: has neither username nor password, so that every login counts as bait",
            "4:24  telnet.honeycreds.0.user: no such key; did you mean username? It is ignored, as OpenCanary does",
            "4:39  telnet.honeycreds.0.passwd: no such key; did you mean password? It is ignored, as OpenCanary does",
            "4:55  telnet.honeycreds.1: has neither username nor password, so that every login counts as bait",
        ]
    );
    assert!(config.honeycreds.of("telnet").unwrap().check(Some(b"zz"), Some(b"yy")), "as OpenCanary");

    let new =
        "honeycreds = [{ username = 'a', note = 'b' }]\n[telnet]\nhoneycreds = [{ user = 'svc' }, {}]\n";
    assert_eq!(
        told("serin.toml", new, &[("SERIN_TELNET__ENABLED", "true")]),
        "serin.toml: 2 things to put right\n\n  \
         1:33  honeycreds.0.note: no such key; there are username and password\n  \
         3:17  telnet.honeycreds.0.user: no such key; did you mean username?\n\n\
         and 2 things to know\n\n  \
         3:15  telnet.honeycreds.0: has neither username nor password, so that every login counts as bait\n  \
         3:33  telnet.honeycreds.1: has neither username nor password, so that every login counts as bait\n\n\
         Nothing was started.\n"
    );
    let printed = import::text_of(&config, CATALOGUE);
    assert!(printed.contains("honeycreds = [{}, {}]\n"), "what is not understood is not imported: {printed}");
}

#[test]
fn a_wrong_ignore_rule_is_told_with_its_place_in_either_form() {
    let new = "[[ignore]]\nname = 'a'\nsorce = '10.0.0.5'\n\n[[ignore]]\nname = 'b'\nport = [22, 'x']\n\n[benign]\nsuppress = ['nesus']\n";
    let text = told("serin.toml", new, &[]);
    for line in [
        "3:1  ignore.0.sorce: no such key; did you mean source?",
        "7:13  ignore.1.port.1: wants ports such as 22 or \"8000-8100\", got \"x\"",
        "10:12  benign.suppress: there is no pattern \"nesus\"; there are: ",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    let old = r#""ignore": [{"name": "a", "source": "10.0.0.0/33"}, {"name": "a", "user": "x"}]"#;
    let text = complaints(opencanary(old)).join("\n");
    assert!(text.contains("4:36  ignore.0.source: wants addresses and networks"), "{text}");
}

#[test]
fn a_file_with_nothing_in_it_is_a_mistake() {
    for empty in ["", "\n", " \t\r\n", "\u{feff}", "# nothing here", "# a\n\n  # b\n", "// a\n/* b */\n"] {
        for file in ["serin.toml", "opencanary.conf"] {
            assert_eq!(
                told(file, empty, &[]),
                format!(
                    "{file}: 1 thing to put right\n\n  is empty; nothing would listen\n\nNothing was started.\n"
                ),
                "{empty:?}"
            );
        }
    }
}

#[test]
fn a_json_value_that_is_no_object_is_a_mistake() {
    for text in ["[1]", "[]", " [1]\n", "[{\"ftp.enabled\": true}]", "5", "null", "\"ftp\""] {
        let list = parse("opencanary.conf", text, &[]).unwrap_err().list;
        assert_eq!(list.len(), 1, "{text}");
        assert_eq!(list[0].text, "wants one JSON object, in { and }", "{text}");
    }
    assert!(parse("serin.toml", "[ftp]", &[]).is_ok());
}

#[test]
fn everything_is_told_at_once_and_so_is_what_there_is_to_know() {
    let text = r#"{
"device.node_id": 5, "ftp.bannner": "x", "console.listen": 7, "limits.connections": "many",
"telnet.enabled": "yes", "telnet.honeycreds": {"username": "x"},
"http.enabled": 1, "http.honeycreds": [{"password": "$6$broken"}], "http.port": 99999,
"httpproxy.enabled": "yes", "httpproxy.skin": "foo", "httpproxy.schemes": "fax",
"tcpbanner.enabled": "true", "tcpbanner.maxnum": "x", "tcpbanner_1.keep_alive_probes": "x",
"logger": {"class": "PyLoger", "kwargs": {
"formatters": {"bad": {"format": "%(nonsense)s"}},
"handlers": {
"a": {"class": "my.own.Handler", "formatter": "bad"},
"b": {"class": "logging.StreamHandler", "formatter": "none", "steam": 1},
"c": {"formatter": "bad"}
}}}
}"#;
    let parsed = Config::parse(
        Catalogue::whole(),
        Path::new("x.conf"),
        text,
        &environment(&[("SERIN_BOGUS", "2")]),
        &folder,
    );
    let mut out = Vec::new();
    check::tell(&parsed, &mut out).unwrap();
    let here = crate::outputs::handlers::classes();
    let known = "known are asctime, created, levelname, levelno, message, msecs, name, process, processName, thread, threadName";
    let wanted = format!(
        r#"x.conf: 22 things to put right

  2:19  device.node_id: wants a string, got 5
  2:60  console.listen: wants an address and port such as 127.0.0.1:8737, or "" for none, got 7
  2:85  limits.connections: wants a whole number, 0 or more, got "many"
  3:19  telnet.enabled: wants true or false, got "yes"
  3:47  telnet.honeycreds: wants a list of objects with username and password, got an object
  4:17  http.enabled: wants true or false, got 1
  4:53  http.honeycreds.0.password: is not a whole SHA512-crypt ($6$) hash
  4:81  http.port: wants a port from 1 to 65535, got 99999
  5:22  httpproxy.enabled: wants true or false, got "yes"
  5:47  httpproxy.skin: wants squid or ms-isa, got "foo"
  5:75  httpproxy.schemes: wants one or more of basic, digest, ntlm and negotiate, got "fax"
  6:22  tcpbanner.enabled: wants true or false, got "true"
  6:50  tcpbanner.maxnum: wants a whole number from 0 to 65535, got "x"
  6:88  tcpbanner_1.keep_alive_probes: wants a whole number, 0 or more, got "x"
  7:21  logger.class: wants "PyLogger", got "PyLoger"
  10:16  logger.kwargs.handlers.a.class: my.own.Handler is not a handler; this version has {here}
  10:47  logger.kwargs.handlers.a.formatter: names "nonsense"; {known}
  11:54  logger.kwargs.handlers.b.formatter: there is no formatter "none"; there are: bad
  11:71  logger.kwargs.handlers.b.steam: logging.StreamHandler has no such argument; it takes stream
  12:6  logger.kwargs.handlers.c: wants a class, such as logging.FileHandler
  12:20  logger.kwargs.handlers.c.formatter: names "nonsense"; {known}
  SERIN_BOGUS  no such setting; one is set by SERIN_SECTION__NAME, with two underscores

and 1 thing to know

  2:22  ftp.bannner: no such setting; did you mean ftp.banner? It is ignored, as OpenCanary does

Nothing was started.
"#
    );
    assert_eq!(String::from_utf8(out).unwrap(), wanted);
}

#[test]
fn a_switch_that_is_wrong_hides_nothing_unless_it_means_off() {
    let port = "4:65  telnet.port: 21 is the port of ftp.port too";
    let bait = "4:91  telnet.honeycreds.0: wants an object with username and password, got a number";
    for (value, on) in [("\"true\"", true), ("\"on  \"", true), ("111111", true), ("\"false\"", false)] {
        let text = format!(
            "\"ftp.enabled\": true, \"telnet.enabled\": {value: <8}, \"telnet.port\": 21, \"telnet.honeycreds\": [5]"
        );
        let told = complaints(opencanary(&text));
        let switch = format!("4:40  telnet.enabled: wants true or false, got {value}");
        let wanted = if on { vec![switch.as_str(), port, bait] } else { vec![switch.as_str()] };
        assert_eq!(told, wanted);
    }
}

#[test]
fn one_refused_value_does_not_hide_another_of_the_same_output() {
    let text = "[outputs.a]\ntype = 'file'\npath = 5\nkeep = 'x'\nformat = '%(nonsense)s'\ndatefmt = '%K'\n";
    let complaints = complaints(parse("serin.toml", text, &[]));
    let starts = [
        "3:8  outputs.a.path: wants a string, got 5",
        "4:8  outputs.a.keep: wants a whole number, 0 or more, got \"x\"",
        "5:10  outputs.a.format: names \"nonsense\"; known are ",
        "6:11  outputs.a.datefmt: ",
    ];
    assert_eq!(complaints.len(), starts.len(), "{complaints:#?}");
    for (complaint, start) in complaints.iter().zip(starts) {
        assert!(complaint.starts_with(start), "{complaint}");
    }
}

#[test]
fn a_port_that_was_refused_is_not_the_usual_one_instead() {
    let text = "[ftp]\nenabled = true\nport = 0\n[telnet]\nenabled = true\nport = 21\n";
    assert_eq!(
        complaints(parse("serin.toml", text, &[])),
        ["3:8  ftp.port: wants a port from 1 to 65535, got 0"]
    );
}

#[test]
fn a_name_that_is_empty_is_told() {
    let told = "is empty: records would carry no name";
    let old = parse("x.conf", &opencanary_text("\"ftp.port\": 21").replace("\"n\"", "\"\""), &[]).unwrap();
    assert_eq!(notes(&old), [format!("2:1  device.node_id: {told}")]);
    let new = parse("serin.toml", "[device]\nnode_id = ''\n", &[]).unwrap();
    assert_eq!(notes(&new), [format!("2:1  device.node_id: {told}")]);
}

#[test]
fn events_that_go_nowhere_else_are_told() {
    let config = opencanary("\"ftp.enabled\": true").unwrap();
    let notes: Vec<_> = config.notes.iter().map(ToString::to_string).collect();
    assert_eq!(notes, ["3:44  logger.kwargs.handlers: is empty: events go to the store alone"]);
}

#[test]
fn what_is_no_number_is_told_as_it_is_written() {
    let text = r#""ftp.port": NaN, "telnet.port": -Infinity, "http.port": 0"#;
    assert_eq!(
        complaints(opencanary(text)),
        [
            "4:13  ftp.port: wants a port from 1 to 65535, got NaN",
            "4:33  telnet.port: wants a port from 1 to 65535, got -Infinity",
            "4:57  http.port: wants a port from 1 to 65535, got 0",
        ]
    );
}

#[test]
fn objects_in_place_of_dotted_keys_are_told_so() {
    let text =
        r#""ftp": {"enabled": true}, "snmp": {"port": 161}, "tcpbanner_2": {"port": {}}, "other": {"a": 1}"#;
    let ignored = "It is ignored, as OpenCanary does";
    assert_eq!(
        notes(&opencanary(text).unwrap()),
        [
            format!("4:1  ftp: no such setting; keys are dotted, such as \"ftp.enabled\": true. {ignored}"),
            format!("4:27  snmp: no such setting; keys are dotted, such as \"snmp.port\": 161. {ignored}"),
            format!(
                "4:50  tcpbanner_2: no such setting; keys are dotted, such as \"tcpbanner_2.port\". {ignored}"
            ),
            "4:79  other: no such setting; ignored, as OpenCanary does".to_owned(),
        ]
    );
}
