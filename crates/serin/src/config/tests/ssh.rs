//! The settings of SSH.

use serde_json::Value;
use serin_services::conf::Setting as _;
use serin_services::logins::Logins;

use super::*;

fn read(file: &str, text: &str, variables: &[(&str, &str)]) -> Result<Config, Complaints> {
    Config::parse(Catalogue::whole(), Path::new(file), text, &environment(variables), &folder)
}

fn lets_in(config: &Config) -> bool {
    let value = config.services.get("ssh.accept").unwrap_or(&Value::Null);
    let logins = Logins::read(value).unwrap();
    logins.accept(b"root", b"toor") && !logins.accept(b"root", b"root")
}

fn complaints(text: &str) -> Vec<String> {
    let complaints = read("serin.toml", text, &[]).unwrap_err();
    complaints.list.iter().map(ToString::to_string).collect()
}

#[test]
fn logins_to_accept_can_be_written_in_each_way() {
    let toml = "[ssh]\nenabled = true\n[[ssh.accept]]\nusername = \"root\"\npassword = \"toor\"\n";
    assert!(lets_in(&read("serin.toml", toml, &[]).unwrap()));
    let list = r#"[{"username": "root", "password": "toor"}]"#;
    let json = opencanary_text(&format!(r#""ssh.enabled": true, "ssh.accept": {list}"#));
    assert!(lets_in(&read("opencanary.conf", &json, &[]).unwrap()));
    let off = "[ssh]\nenabled = true\n";
    assert!(lets_in(&read("serin.toml", off, &[("SERIN_SSH__ACCEPT", list)]).unwrap()));
}

#[test]
fn what_is_wrong_with_logins_is_told_and_no_password_repeated() {
    let text = "[ssh]\naccept = [{ username = 5 }, { name = \"x\", password = \"s3cret\" }, { password = \"$6$s3cret$x\" }]\n";
    assert_eq!(
        complaints(text),
        ["2:10  ssh.accept: entry 1: username wants a string, got a number; \
          entry 2: there is no name, only username and password; \
          entry 3: the password is a hash; to let somebody in, write it in clear"]
    );
    let text = "[ssh]\naccept = \"root:s3cret\"\n";
    let wants = "2:10  ssh.accept: wants a list of objects with username and password, got a string";
    assert_eq!(complaints(text), [wants]);
}

#[test]
fn an_identification_is_judged_in_our_own_file_too() {
    let told = complaints("[ssh]\nversion = \"OpenSSH_9.2\"\n");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("2:11  ssh.version: wants an identification"), "{told:?}");
    read("serin.toml", "[ssh]\nversion = \"SSH-2.0-dropbear_2022.83\"\n", &[]).unwrap();
}

#[test]
fn old_keys_are_looked_for_where_opencanary_has_them() {
    let config = read("opencanary.conf", &opencanary_text(r#""ssh.enabled": true"#), &[]).unwrap();
    assert_eq!(config.services.get("ssh.key_path"), Some(&"/var/tmp".into()));
    let config = read("serin.toml", "[ssh]\nenabled = true\n", &[]).unwrap();
    assert_eq!(config.services.get("ssh.key_path"), None);
}

#[test]
fn bait_of_ssh_is_read() {
    let text = "[ssh]\nenabled = true\n[[ssh.honeycreds]]\nusername = \"backup\"\n";
    let config = read("serin.toml", text, &[]).unwrap();
    assert!(config.honeycreds.of("ssh").unwrap().check(Some(b"backup"), Some(b"x")));
}
