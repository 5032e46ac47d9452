//! What the recorded sessions do not show.

use super::*;
use crate::replay::{check, drive};

const VSFTPD: &str = "< 220 (vsFTPd 3.0.3)\n";

#[track_caller]
fn inline(session: &str) {
    check(&SERVICE, "inline", session);
}

#[test]
fn vsftpd_answers_as_it_does() {
    inline(&format!(
        "{VSFTPD}> \n> PASS x\n< 503 Login with USER first.\n> GET / HTTP/1.0\n> \n\
         < 530 Please login with USER and PASS.\n> opts utf8 on\n< 200 Always in UTF8 mode.\n> OPTS MLST\n\
         < 501 Option not understood.\n> AUTH TLS\n< 530 Please login with USER and PASS.\n\
         > USER\n< 331 Please specify the password.\n> PASS\n< 503 Login with USER first.\n>> SYST\\n\n\
         < 530 Please login with USER and PASS.\n> quit now\n< 221 Goodbye.\n= closed\n"
    ));
}

#[test]
fn the_third_refusal_ends_it_with_vsftpd() {
    let once = "> USER a\n< 331 Please specify the password.\n> PASS b c \n\
                ! 2000 PASSWORD=\"b c \" USERNAME=\"a\"\n+ COMMANDS=[\"USER\"]\n~ 3s\n< 530 Login incorrect.\n";
    inline(&format!("{VSFTPD}{once}{once}{once}= closed\n"));
}

#[test]
fn the_initiated_event_comes_first_and_the_wait_can_be_switched_off() {
    inline(
        "@ set ftp.log_auth_attempt_initiated true\n@ set ftp.login_delay 0\n@ set ftp.banner \"FTP Ready.\"\n\
         < 220 FTP Ready.\n> USER root\n> PASS \n< 331 Please specify the password.\n! 2001\n\
         ! 2000 PASSWORD=\"\" USERNAME=\"root\"\n< 530 Login incorrect.\n= gone\n",
    );
}

#[test]
fn names_are_read_as_utf8_or_else_as_latin_1() {
    inline(&format!(
        "@ set ftp.login_delay 0\n{VSFTPD}> USER j\\xc3\\xbcrgen\n< 331 Please specify the password.\n\
         > PASS m\\xfcller\n! 2000 PASSWORD=\"m\\u00fcller\" USERNAME=\"j\\u00fcrgen\"\n< 530 Login incorrect.\n"
    ));
}

#[test]
fn tls_is_offered_where_it_is_on() {
    inline(&format!(
        "@ set ftp.tls true\n{VSFTPD}> FEAT\n< 211-Features:\n<  AUTH TLS\n<  EPRT\n<  EPSV\n<  MDTM\n<  PASV\n\
         <  PBSZ\n<  PROT\n<  REST STREAM\n<  SIZE\n<  TVFS\n< 211 End\n> PROT P\n\
         < 503 PROT needs a secure connection.\n> AUTH X\n< 504 Unknown AUTH type.\n> auth tls\n\
         < 234 Proceed with negotiation.\n= starttls\n"
    ));
}

#[test]
fn after_the_handshake_the_login_carries_its_fingerprint() {
    let mut conf = Conf::new();
    conf.set("ftp.tls", true);
    let listening = build(&conf).unwrap();
    assert!(matches!(listening[0].tls, Tls::OnRequest(_)));
    let mut dialogue = (listening[0].open)();
    let mut out = Actions::new(crate::replay::NOW);
    assert_eq!(dialogue.input(b"AUTH TLS\r\n\x16\x03\x01", &mut out), Ok(&b"\x16\x03\x01"[..]));
    let peer = TlsPeer { ja3: "three".into(), ja4: "four".into(), ..TlsPeer::default() };
    dialogue.secured(&peer, &mut out);
    assert_eq!(dialogue.input(b"PBSZ 0\r\nPROT P\r\nUSER a\r\nPASS b\r\n", &mut out), Ok(&b""[..]));
    let done: Vec<_> = out.drain().collect();
    let event =
        done.iter().find_map(|it| if let Action::Report(event) = it { Some(event) } else { None }).unwrap();
    assert!(event.fields.contains(&("JA3", "three".to_owned().into())), "{event:?}");
    assert!(event.fields.contains(&("JA4", "four".to_owned().into())));
    assert!(done.contains(&Action::Send(Cow::Borrowed(b"200 PROT now Private.\r\n"))));
}

#[test]
fn the_banner_chooses_the_texts() {
    inline(
        "@ set ftp.banner \"ProFTPD Server (Debian) [192.0.2.1]\"\n< 220 ProFTPD Server (Debian) [192.0.2.1]\n\
         > SYST\n< 215 UNIX Type: L8\n> FOO\n< 500 FOO not understood\n> \n\
         < 500 Invalid command: try being more creative\n> USER  root x \n< 331 Password required for root\n\
         > PASS secret\n! 2000 PASSWORD=\"secret\" USERNAME=\"root x\"\n< 530 Login incorrect.\n\
         >> USER a\\nb\n> \n< 331 Password required for a\n>> \\xff\\xfd\\x01SYST\n> \n\
         << \\xff\\xfc\\x01215 UNIX Type: L8\\r\\n\n> HEAD / HTTP/1.0\n= closed\n",
    );
    inline(
        "@ set ftp.banner \"--------- Welcome to Pure-FTPd [privsep] [TLS] ----------\"\n\
         < 220---------- Welcome to Pure-FTPd [privsep] [TLS] ----------\n\
         < 220-You are user number 1 of 50 allowed.\n< 220-Local time is now 00:00. Server port: 21.\n\
         < 220-This is a private system - No anonymous login\n\
         < 220 You will be disconnected after 15 minutes of inactivity.\n> NOOP\n< 200 Zzz...\n> SSH-2.0-x\n\
         > USER bob\n< 331 User bob OK. Password required\n> PASS x\n! 2000 PASSWORD=\"x\" USERNAME=\"bob\"\n~ 5s\n\
         < 530 Login authentication failed\n> GET / HTTP/1.0\n< 500 HTTP command: [get]\n= closed\n",
    );
    inline(
        "@ set ftp.banner \"Microsoft FTP Service\"\n< 220 Microsoft FTP Service\n> SYST\n< 215 Windows_NT\n\
         > USER anonymous\n< 331 Password required\n> PASS guest@\n\
         ! 2000 PASSWORD=\"guest@\" USERNAME=\"anonymous\"\n< 530 User cannot log in.\n= gone\n",
    );
}

#[test]
fn an_overlong_line_gets_the_server_s_last_words_or_none() {
    let whole = "A".repeat(4094);
    inline(&format!("{VSFTPD}> {whole}\n< 530 Please login with USER and PASS.\n= gone\n"));
    inline(&format!("{VSFTPD}> {whole}A\n< 500 Input line too long.\n= closed\n"));
    inline(&format!("{VSFTPD}>> {whole}AA\n< 500 Input line too long.\n= closed\n"));
    let long = "A".repeat(9000);
    inline(&format!(
        "@ set ftp.banner \"ProFTPD\"\n< 220 ProFTPD\n> {long}\n> SYST\n< 215 UNIX Type: L8\n= gone\n"
    ));
    drive(&SERVICE, long.as_bytes());
}

#[test]
fn a_silent_client_is_told_why_it_is_hung_up_on() {
    let mut dialogue = (build(&Conf::new()).unwrap()[0].open)();
    let mut out = Actions::new(crate::replay::NOW);
    dialogue.timer(&mut out);
    let done: Vec<_> = out.drain().collect();
    assert_eq!(done, [Action::Send(Cow::Borrowed(b"421 Timeout.\r\n")), Action::Close]);
}
