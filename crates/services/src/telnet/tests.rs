//! What the recorded sessions do not show.

use super::*;
use crate::replay::{NOW, check, drive};

const BUSYBOX_OPENS: &str = "<< \\xff\\xfd\\x01\\xff\\xfd\\x1f\\xff\\xfb\\x01\\xff\\xfb\\x03\n~ 0.005s\n<< \\r\\r\\nsrv-files login: \n";
const CISCO_OPENS: &str = "@ set telnet.product \"cisco\"\n\
     << \\xff\\xfb\\x01\\xff\\xfb\\x03\\xff\\xfd\\x18\\xff\\xfd\\x1f\\r\\n\\r\\nUser Access Verification\\r\\n\\r\\n\n~ 0.005s\n<< Username: \n";

#[track_caller]
fn inline(session: &str) {
    check(&SERVICE, "inline", session);
}

#[test]
fn three_refusals_and_busybox_hangs_up() {
    let once = "> bob\n> x\n<< bob\\r\\nPassword: \\r\\n\n! 6001 PASSWORD=\"x\" USERNAME=\"bob\"\n~ 3s\n<< Login incorrect\\r\\n\n";
    let again = "<< srv-files login: \n";
    inline(&format!("{BUSYBOX_OPENS}{once}{again}{once}{again}{once}= closed\n"));
}

#[test]
fn lines_end_as_clients_end_them() {
    for ending in ["\\n", "\\r\\x00", "\\r\\n"] {
        inline(&format!(
            "@ set telnet.login_delay 0\n{BUSYBOX_OPENS}>> a{ending}b{ending}\n\
             << a\\r\\nPassword: \\r\\n\n! 6001 PASSWORD=\"b\" USERNAME=\"a\"\n<< Login incorrect\\r\\nsrv-files login: \n"
        ));
    }
}

#[test]
fn empty_names_are_asked_again_ten_times() {
    let again = "<< \\r\\nsrv-files login: \n";
    inline(&format!("{BUSYBOX_OPENS}{}{}<< \\r\\n\n= closed\n", "> \n".repeat(10), again.repeat(9)));
}

#[test]
fn keys_mend_a_line_as_linux_does() {
    inline(&format!(
        "@ set telnet.login_delay 0\n{BUSYBOX_OPENS}>> ab\\x7f\\x7f\\x7fx y\\x17z\\x15a\\x01\\tb\\x1aroot\\rzz\\x15s\\x7ft\\r\n\
         << ab\\x08 \\x08\\x08 \\x08x y\\x08 \\x08z\\x08 \\x08\\x08 \\x08\\x08 \\x08a^A    b^Zroot\\r\\nPassword: \\r\\n\n\
         ! 6001 PASSWORD=\"t\" USERNAME=\"root\"\n<< Login incorrect\\r\\nsrv-files login: \n"
    ));
    inline(&format!("{BUSYBOX_OPENS}>> \\x04\n= closed\n"));
    inline(&format!("{BUSYBOX_OPENS}>> ab\\x03\n<< ab^C\n= closed\n"));
}

#[test]
fn busybox_answers_no_option_and_are_you_there_in_its_way() {
    inline(&format!(
        "@ set telnet.login_delay 0\n{BUSYBOX_OPENS}\
         >> \\xff\\xfd\\x01\\xff\\xfb\\x1f\\xff\\xfa\\x1f\\x00\\x50\\x00\\x18\\xff\\xf0\\xff\\xf6j\\xff\\xff\\r\\r\n\
         << \\xff\\xff\\xf1j\\xff\\xff\\r\\nPassword: \\r\\n\n! 6001 PASSWORD=\"\" USERNAME=\"j\\\\xff\"\n\
         + OPTIONS=[\"DO ECHO\", \"WILL NAWS\", \"SB NAWS\"] WINDOW=\"80x24\"\n<< Login incorrect\\r\\nsrv-files login: \n"
    ));
}

#[test]
fn a_router_negotiates_once_and_asks_for_the_terminal() {
    inline(&format!(
        "@ set telnet.login_delay 0\n{CISCO_OPENS}\
         >> \\xff\\xfd\\x01\\xff\\xfd\\x01\\xff\\xfd\\x03\\xff\\xfb\\x18\\xff\\xfb\\x18\\xff\\xfc\\x1f\\xff\\xfb\\x20\\xff\\xfd\\x00\n\
         << \\xff\\xfa\\x18\\x01\\xff\\xf0\\xff\\xfe\\x20\\xff\\xfc\\x00\n\
         >> \\xff\\xfa\\x18\\x00XTERM\\xff\\xf0\\xff\\xfe\\x01\\xff\\xfe\\x01a\\xff\\xf7b\\r\\n\n\
         << \\xff\\xfc\\x01a\\x08 \\x08b\\r\\nPassword: \n>> \\r\\n\n<< \\r\\n\n! 6001 PASSWORD=\"\" USERNAME=\"b\"\n\
         + OPTIONS=[\"DO ECHO\", \"DO ECHO\", \"DO SGA\", \"WILL TTYPE\", \"WILL TTYPE\", \"WONT NAWS\", \"WILL TSPEED\", \
         \"DO BINARY\", \"SB TTYPE\", \"DONT ECHO\", \"DONT ECHO\"] TERMINAL=\"XTERM\"\n<< \\r\\n% Authentication failed\\r\\n\\r\\nUsername: \n"
    ));
}

#[test]
fn a_router_takes_an_empty_name_and_hangs_up_after_three() {
    let once = ">> \\n\\n\n<< \\r\\nPassword: \\r\\n\n! 6001 PASSWORD=\"\" USERNAME=\"\"\n~ 2s\n<< \\r\\n% Authentication failed\\r\\n\\r\\n\n";
    inline(&format!("{CISCO_OPENS}{once}<< Username: \n{once}<< Username: \n{once}= closed\n"));
}

#[test]
fn connections_are_reported_where_wanted_and_the_banner_comes_first() {
    inline(
        "@ set telnet.log_tcp_connection true\n@ set telnet.banner \"Keep\\nout\"\n! 6002\n\
         << \\xff\\xfd\\x01\\xff\\xfd\\x1f\\xff\\xfb\\x01\\xff\\xfb\\x03\n~ 0.005s\n<< \\r\\r\\nKeep\\r\\n\\rout\\r\\n\\rsrv-files login: \n= gone\n",
    );
    inline(
        "@ set telnet.product \"cisco\"\n@ set telnet.banner \"Keep out\"\n\
         << \\xff\\xfb\\x01\\xff\\xfb\\x03\\xff\\xfd\\x18\\xff\\xfd\\x1f\\r\\nKeep out\\r\\n\\r\\nUser Access Verification\\r\\n\\r\\n\n~ 0.005s\n<< Username: \n= gone\n",
    );
}

#[test]
fn a_login_by_environment_alone_is_a_login() {
    inline(&format!(
        "{BUSYBOX_OPENS}>> \\xff\\xfb\\x27\\xff\\xfa\\x27\\x00\\x00USER\\x01-f root\\x03A\\x02\\x01B\\x01c\\xff\\xf0\n= gone\n\
         ! 6001 PASSWORD=\"\" USERNAME=\"-f root\"\n\
         + ENVIRONMENT={{\"A\\u0001B\": \"c\", \"USER\": \"-f root\"}} OPTIONS=[\"WILL NEW-ENVIRON\", \"SB NEW-ENVIRON\"]\n"
    ));
}

#[test]
fn time_runs_out_in_each_one_s_words() {
    for (face, words) in [
        ("busybox", "\r\r\nLogin timed out after 60 seconds\r\r\n"),
        ("cisco", "\r\n% Username:  timeout expired!\r\n"),
    ] {
        let mut conf = Conf::new();
        conf.set("telnet.product", face);
        let mut dialogue = (build(&conf).unwrap()[0].open)();
        let mut out = Actions::new(NOW);
        dialogue.timer(&mut out);
        let done: Vec<_> = out.drain().collect();
        assert_eq!(done, [Action::Send(words.as_bytes().into()), Action::Close]);
    }
}

#[test]
fn what_never_ends_is_bounded() {
    drive(&SERVICE, &b"a".repeat(20_000));
    drive(&SERVICE, &[b"\xff\xfa\x27".as_slice(), &b"a".repeat(20_000)].concat());
    drive(&SERVICE, &b"\xff\xfd\x63".repeat(5000));
    drive(&SERVICE, &b"a\x15".repeat(5000));
}
