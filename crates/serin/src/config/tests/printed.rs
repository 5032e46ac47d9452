//! What is printed from the table: `import`, `init`, `schema`.

use serde_json::Value;

use super::*;

/// What a configuration makes happen: every setting of every service that is on, with defaults, and
/// everything outside of the services.
fn effect(config: &Config, catalogue: Catalogue) -> (Vec<String>, String) {
    let mut settings = Vec::new();
    for service in catalogue.services.iter().filter(|it| config.services.enabled(it)) {
        for known in keys::service(service) {
            for slot in 1..=10 {
                let key = known.name.replace("_N.", &format!("_{slot}."));
                let value = config.services.get(&key).unwrap_or(&known.default);
                settings.push(format!("{key} = {value}"));
            }
        }
    }
    let outputs: Vec<_> = config
        .outputs
        .iter()
        .map(|it| (&it.name, it.output.name, it.conf.iter().collect::<Vec<_>>()))
        .collect();
    let rest = format!(
        "{} {} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {outputs:?}",
        config.node_id,
        config.hostname,
        config.listen,
        config.ignore,
        config.honeycreds,
        config.console,
        config.limits,
        config.store,
        config.run,
        config.incidents,
    );
    (settings, rest)
}

fn same_after_import(catalogue: Catalogue, text: &str) {
    let read = |file: &str, text: &str| {
        Config::parse(catalogue, Path::new(file), text, &Environment::default(), &folder)
    };
    let old = read("opencanary.conf", text).unwrap();
    let printed = import::text_of(&old, catalogue);
    let new = read("serin.toml", &printed).unwrap_or_else(|it| panic!("{it}\n{printed}"));
    assert_eq!(effect(&old, catalogue), effect(&new, catalogue), "{printed}");
}

#[test]
fn an_imported_configuration_does_the_same() {
    same_after_import(CATALOGUE, &opencanary_text(""));
    let more = r#""device.listen_addr": "::", "ip.ignorelist": ["10.1/16", "junk", "::1"], "logtype.ignorelist": [1001, 2],
        "ftp.enabled": true, "ftp.port": "2121", "telnet.enabled": true, "telnet.banner": "a\r\n\"\u007f",
        "telnet.honeycreds": [{"username": "admin", "password": "x"}, {}],
        "http.enabled": true, "http.skindir": "/skins/mine", "console.listen": "", "limits.connections": 5,
        "tcpbanner.enabled": true, "tcpbanner_2.enabled": true, "tcpbanner_2.port": 8001,
        "tcpbanner_2.alertstring": "a", "tcpbanner_2.alertstring.enabled": true"#;
    same_after_import(CATALOGUE, &opencanary_text(more));
    let handlers = r#"{"device.node_id": "n", "logger": {"class": "PyLogger", "kwargs": {
        "formatters": {"f": {"format": "%(name)s %(message)s", "datefmt": "%Y"}},
        "handlers": {
            "out": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"},
            "a file": {"class": "logging.handlers.RotatingFileHandler", "filename": "/var/tmp/x", "maxBytes": 100,
                "backupCount": 3, "formatter": "f"},
            "hook": {"class": "opencanary.logger.WebhookHandler", "url": "http://x/", "headers": {"A": "b\"c"},
                "data": {"z": {"y": ["%(message)s"]}, "a": 1}, "params": {"q": "a b"}},
            "mail": {"class": "logging.handlers.SMTPHandler", "mailhost": "x", "fromaddr": "a@x", "toaddrs": ["b@x"],
                "subject": "s", "credentials": ["u", "p"], "secure": []}}}}}"#;
    same_after_import(CATALOGUE, handlers);
}

#[test]
fn bait_that_is_none_is_not_imported() {
    let bait = r#""telnet.honeycreds": "", "http.honeycreds": [5], "SIP.honeycreds": 0"#;
    let printed = import::text_of(&opencanary(bait).unwrap(), CATALOGUE);
    assert!(!printed.contains("honeycreds ="), "{printed}");
    assert!(parse("serin.toml", &printed, &[]).is_ok());
}

#[test]
fn an_import_says_what_it_could_not_carry_over() {
    let config = opencanary("\"snmp.enabled\": true, \"a\\nb\": 1, \"ftp.enabled\": true").unwrap();
    assert_eq!(
        import::text_of(&config, CATALOGUE),
        r#"# Made from opencanary.conf by serin import.
#
# To know:
#   3:44  logger.kwargs.handlers: is empty: events go to the store alone
#   4:1  snmp.enabled: this version does not have snmp yet; everything else runs
#   4:23  a b: no such setting; ignored, as OpenCanary does

[device]
listen_addr = ["0.0.0.0"]
node_id = "n"

[ftp]
banner = "FTP Ready."
enabled = true

[heartbeat]
every = 0

[telnet]
port = 8023

# Events go to the store alone.
[outputs]
"#
    );
}

#[test]
fn a_fresh_file_is_fine_with_and_without_a_persona() {
    for catalogue in [CATALOGUE, Catalogue::whole()] {
        for persona in PERSONAS.iter().map(Some).chain([None]) {
            let text = init::text_of(catalogue, persona);
            let read = |text: &str| {
                Config::parse(catalogue, Path::new("serin.toml"), text, &Environment::default(), &folder)
            };
            let config = read(&text).unwrap_or_else(|it| panic!("{it}\n{text}"));
            assert_eq!(notes(&config), [""; 0]);
            let on = catalogue.services.iter().any(|it| config.services.enabled(it));
            let table = keys::all(catalogue);
            let has = |key| keys::is_switch(key) && keys::find(&table, key).is_some();
            assert_eq!(on, persona.is_some_and(|it| it.keys().any(has)));
            // What is commented out is no less right: every default is accepted as a value.
            let all: String = text
                .lines()
                .map(|line| match line.strip_prefix("# ") {
                    Some(rest) if rest.split_once(" = ").is_some_and(|it| !it.0.contains(' ')) => {
                        format!("{rest}\n")
                    }
                    _ => format!("{line}\n"),
                })
                .take_while(|line| !line.starts_with("type = "))
                .collect();
            let all = all.replace("username = \"backup\"\npassword = \"in clear, or a hash\"\n", "");
            if let Err(complaints) = read(&all) {
                panic!("{complaints}\n{all}");
            }
        }
    }
}

#[test]
fn personas_speak_only_of_settings_that_opencanary_or_this_version_has() {
    assert!(PERSONAS.iter().map(|it| it.name).is_sorted());
    let table = keys::all(Catalogue::whole());
    for persona in PERSONAS {
        for key in persona.keys() {
            let known = keys::find(&table, key).is_some() || later::service_of(key).is_some();
            assert!(known, "{}: {key}", persona.name);
        }
    }
}

#[test]
fn init_never_writes_over_a_file_and_names_its_personas() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serin.toml");
    let run = |persona| {
        let mut out = Vec::new();
        let _ = init(persona, &path, &mut out);
        String::from_utf8(out).unwrap().replace(path.to_str().unwrap(), "serin.toml")
    };
    let unknown = run(Some("toaster"));
    assert!(
        unknown.starts_with("serin: there is no persona \"toaster\". There are:\n\n  cisco-switch"),
        "{unknown}"
    );
    assert!(!path.exists());
    assert_eq!(run(Some("nas")), "serin.toml is written.\n");
    assert_eq!(run(None), "serin: serin.toml was not written: File exists (os error 17)\n");
}

#[test]
fn the_schemas_name_every_setting() {
    let catalogue = Catalogue::whole();
    let native = schema::native_schema(catalogue);
    let old = schema::opencanary_schema(catalogue);
    for known in keys::all(catalogue) {
        let in_native = match known.name.split_once('.') {
            None => &native["properties"][&known.name],
            Some((section, name)) => match section.strip_suffix("_N") {
                Some(base) => &native["patternProperties"][format!("^{base}_[0-9]+$")]["properties"][name],
                None => &native["properties"][section]["properties"][name],
            },
        };
        assert_eq!(in_native["description"], Value::from(known.doc.as_str()), "{}", known.name);
        if !known.name.contains("_N.") {
            assert!(old["properties"][&known.name].is_object(), "{}", known.name);
        }
    }
    assert!(old["properties"]["vnc.port"].is_object() && old["properties"]["logger"].is_object());
}
