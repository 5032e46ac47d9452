//! What four FTP servers say to a client that is not logged in.
//!
//! vsftpd 3.0.3, ProFTPD 1.3.8 and Pure-FTPd 1.0.50 were compared byte for byte with Debian 12's
//! packages (`tests/fidelity/ftp.py` does it again); Microsoft's server is from specification and
//! was never recorded.

use std::time::Duration;

/// One server's answers. In a reply, `%u` stands for the user's name and `%v` for the verb, as the
/// client wrote them.
#[derive(Debug)]
pub(super) struct Product {
    /// The word in a banner that claims this server, in lower case.
    pub(super) claim: &'static str,
    /// How lines are taken apart.
    pub(super) lines: Lines,
    /// Most bytes of a line with its ending, and the last words to a longer one. Without words
    /// such a line is dropped unseen.
    pub(super) line_max: (usize, Option<&'static str>),
    /// To an empty line.
    pub(super) empty: &'static str,
    /// To USER with a name.
    pub(super) user: &'static str,
    /// To USER without.
    pub(super) nobody: (&'static str, After),
    /// To PASS without a USER before.
    pub(super) pass_first: &'static str,
    /// To PASS.
    pub(super) refused: &'static str,
    /// Whether it remembers the name after that, so that PASS alone is another try.
    pub(super) remembers: bool,
    /// The wait before that, in times of the configured one: at the first, and more at each further.
    pub(super) patience: (f64, f64),
    /// The share of that wait after which a name is refused that PAM is not asked about: one over 128
    /// bytes, or with blanks.
    pub(super) unasked: f64,
    /// Refusals after which the server hangs up; 0: never.
    pub(super) attempts: u8,
    /// To QUIT.
    pub(super) goodbye: &'static str,
    /// To FEAT, without and with TLS.
    pub(super) features: [&'static str; 2],
    /// To OPTS, by its argument in capitals; the last is for all others.
    pub(super) options: &'static [(&'static str, &'static str)],
    /// To AUTH, PBSZ and PROT where TLS is on.
    pub(super) security: Security,
    /// To each other verb known.
    pub(super) replies: &'static [(&'static str, &'static str)],
    /// To a verb unknown.
    pub(super) unknown: &'static str,
    /// To other protocols' verbs, after which the server hangs up.
    pub(super) strangers: (&'static [&'static str], &'static str),
    /// When a silent or undecided client is hung up on.
    pub(super) clock: Clock,
}

/// How a server takes lines apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lines {
    /// LF ends a line, with or without a CR before it; the verb ends at the first blank.
    Feed,
    /// Only CR LF ends a line, NUL ends its text; words stand between white space, Telnet's option
    /// offers are refused.
    Both,
    /// As `Feed`, and a verb that is not letters only is overheard.
    Letters,
}

/// What a server does once it has said its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    Listens,
    HangsUp,
}

/// A server's time limit, and its last words when it is reached.
#[derive(Debug)]
pub(super) struct Clock {
    pub(super) limit: Duration,
    /// Whether a command winds it up again.
    pub(super) rewound: bool,
    pub(super) words: &'static str,
}

/// What a server with TLS says to the commands of RFC 4217. In each pair: before TLS, within it.
#[derive(Debug)]
pub(super) struct Security {
    /// To the mechanisms of [`MECHANISMS`].
    pub(super) accepted: &'static str,
    pub(super) unknown: &'static str,
    pub(super) pbsz: [&'static str; 2],
    pub(super) private: [&'static str; 2],
    pub(super) clear: [&'static str; 2],
    pub(super) other: [&'static str; 2],
}

/// The arguments of AUTH that mean TLS.
pub(super) const MECHANISMS: &[&str] = &["TLS", "TLS-C", "SSL", "TLS-P"];

/// The server that a banner claims; vsftpd where it claims none.
pub(super) fn claimed(banner: &str) -> &'static Product {
    let banner = banner.to_ascii_lowercase();
    [&PROFTPD, &PURE_FTPD, &MICROSOFT].into_iter().find(|it| banner.contains(it.claim)).unwrap_or(&VSFTPD)
}

/// The default: small, rigid and well known.
static VSFTPD: Product = Product {
    claim: "vsftpd",
    lines: Lines::Feed,
    line_max: (4096, Some("500 Input line too long.\r\n")),
    empty: "",
    user: "331 Please specify the password.\r\n",
    nobody: ("331 Please specify the password.\r\n", After::Listens),
    pass_first: "503 Login with USER first.\r\n",
    refused: "530 Login incorrect.\r\n",
    remembers: false,
    patience: (1.0, 0.0),
    unasked: 1.0 / 3.0,
    attempts: 3,
    goodbye: "221 Goodbye.\r\n",
    features: [
        "211-Features:\r\n EPRT\r\n EPSV\r\n MDTM\r\n PASV\r\n REST STREAM\r\n SIZE\r\n TVFS\r\n211 End\r\n",
        "211-Features:\r\n AUTH TLS\r\n EPRT\r\n EPSV\r\n MDTM\r\n PASV\r\n PBSZ\r\n PROT\r\n REST STREAM\r\n \
         SIZE\r\n TVFS\r\n211 End\r\n",
    ],
    options: &[("UTF8 ON", "200 Always in UTF8 mode.\r\n"), ("", "501 Option not understood.\r\n")],
    security: Security {
        accepted: "234 Proceed with negotiation.\r\n",
        unknown: "504 Unknown AUTH type.\r\n",
        pbsz: ["503 PBSZ needs a secure connection.\r\n", "200 PBSZ set to 0.\r\n"],
        private: ["503 PROT needs a secure connection.\r\n", "200 PROT now Private.\r\n"],
        clear: ["503 PROT needs a secure connection.\r\n", "200 PROT now Clear.\r\n"],
        other: ["503 PROT needs a secure connection.\r\n", "504 PROT not recognized.\r\n"],
    },
    replies: &[],
    unknown: "530 Please login with USER and PASS.\r\n",
    strangers: (&[], ""),
    clock: Clock { limit: Duration::from_mins(5), rewound: true, words: "421 Timeout.\r\n" },
};

const PROFTPD_FIRST: &str = "530 Please login with USER and PASS\r\n";

static PROFTPD: Product = Product {
    claim: "proftpd",
    lines: Lines::Both,
    line_max: (4100, None),
    empty: "500 Invalid command: try being more creative\r\n",
    user: "331 Password required for %u\r\n",
    nobody: ("500 USER: command requires a parameter\r\n", After::Listens),
    pass_first: "503 Login with USER first\r\n",
    refused: "530 Login incorrect.\r\n",
    remembers: false,
    // It asks PAM only about names that exist here; none does.
    patience: (0.0, 0.0),
    unasked: 1.0,
    attempts: 3,
    goodbye: "221 Goodbye.\r\n",
    features: [
        "211-Features:\r\n CLNT\r\n CSID\r\n EPRT\r\n EPSV\r\n HOST\r\n LANG C.UTF-8*\r\n MDTM\r\n \
         MFF modify;UNIX.group;UNIX.mode;\r\n MFMT\r\n MLST modify*;perm*;size*;type*;unique*;UNIX.group*;\
         UNIX.groupname*;UNIX.mode*;UNIX.owner*;UNIX.ownername*;\r\n RANG STREAM\r\n REST STREAM\r\n \
         SIZE\r\n TVFS\r\n UTF8\r\n211 End\r\n",
        "211-Features:\r\n AUTH TLS\r\n CCC\r\n CLNT\r\n CSID\r\n EPRT\r\n EPSV\r\n HOST\r\n \
         LANG C.UTF-8*\r\n MDTM\r\n MFF modify;UNIX.group;UNIX.mode;\r\n MFMT\r\n MLST modify*;perm*;size*;\
         type*;unique*;UNIX.group*;UNIX.groupname*;UNIX.mode*;UNIX.owner*;UNIX.ownername*;\r\n PBSZ\r\n \
         PROT\r\n RANG STREAM\r\n REST STREAM\r\n SIZE\r\n SSCN\r\n TVFS\r\n UTF8\r\n211 End\r\n",
    ],
    options: &[
        ("UTF8 ON", "200 UTF8 set to on\r\n"),
        ("UTF8 OFF", "200 UTF8 set to off\r\n"),
        ("MLST", "200 MLST OPTS\r\n"),
        ("UTF8", "501 'OPTS UTF8' not understood\r\n"),
        ("", "501 Invalid number of parameters\r\n"),
    ],
    security: Security {
        accepted: "234 AUTH TLS successful\r\n",
        unknown: "504 AUTH %u unsupported\r\n",
        pbsz: ["503 PBSZ not allowed on insecure control connection\r\n", "200 PBSZ 0 successful\r\n"],
        private: [
            "503 You must issue the PBSZ command prior to PROT\r\n",
            "200 Protection set to Private\r\n",
        ],
        clear: ["503 You must issue the PBSZ command prior to PROT\r\n", "200 Protection set to Clear\r\n"],
        other: ["503 You must issue the PBSZ command prior to PROT\r\n", "504 PROT %u unsupported\r\n"],
    },
    replies: &[
        ("ABOR", PROFTPD_FIRST),
        ("ACCT", "502 ACCT command not implemented\r\n"),
        ("ALLO", PROFTPD_FIRST),
        ("APPE", PROFTPD_FIRST),
        ("CDUP", PROFTPD_FIRST),
        ("CLNT", "200 OK\r\n"),
        ("CWD", PROFTPD_FIRST),
        ("DELE", PROFTPD_FIRST),
        ("EPRT", PROFTPD_FIRST),
        ("EPSV", PROFTPD_FIRST),
        (
            "HELP",
            "214-The following commands are recognized (* =>'s unimplemented):\r\n \
             CWD     XCWD    CDUP    XCUP    SMNT*   QUIT    PORT    PASV    \r\n \
             EPRT    EPSV    ALLO    RNFR    RNTO    DELE    MDTM    RMD     \r\n \
             XRMD    MKD     XMKD    PWD     XPWD    SIZE    SYST    HELP    \r\n \
             NOOP    FEAT    OPTS    HOST    CLNT    AUTH*   CCC*    CONF*   \r\n \
             ENC*    MIC*    PBSZ*   PROT*   TYPE    STRU    MODE    RETR    \r\n \
             STOR    STOU    APPE    REST    ABOR    RANG    USER    PASS    \r\n \
             ACCT*   REIN*   LIST    NLST    STAT    SITE    MLSD    MLST    \r\n\
             214 Direct comments to root@localhost\r\n",
        ),
        ("HOST", "504 %u: Unknown hostname provided\r\n"),
        ("LANG", "200 Using default language C.UTF-8\r\n"),
        ("LIST", PROFTPD_FIRST),
        ("MDTM", PROFTPD_FIRST),
        ("MKD", PROFTPD_FIRST),
        ("MLSD", PROFTPD_FIRST),
        ("MLST", PROFTPD_FIRST),
        ("MODE", PROFTPD_FIRST),
        ("NLST", PROFTPD_FIRST),
        ("NOOP", "200 NOOP command successful\r\n"),
        ("PASV", PROFTPD_FIRST),
        ("PORT", PROFTPD_FIRST),
        ("PWD", PROFTPD_FIRST),
        ("REIN", "502 REIN command not implemented\r\n"),
        ("REST", PROFTPD_FIRST),
        ("RETR", PROFTPD_FIRST),
        ("RMD", PROFTPD_FIRST),
        ("RNFR", PROFTPD_FIRST),
        ("RNTO", PROFTPD_FIRST),
        ("SIZE", PROFTPD_FIRST),
        ("SMNT", PROFTPD_FIRST),
        ("STAT", PROFTPD_FIRST),
        ("STOR", PROFTPD_FIRST),
        ("STOU", PROFTPD_FIRST),
        ("STRU", PROFTPD_FIRST),
        ("SYST", "215 UNIX Type: L8\r\n"),
        ("TYPE", "200 Type set to %u\r\n"),
        ("XCUP", PROFTPD_FIRST),
        ("XCWD", PROFTPD_FIRST),
        ("XMKD", PROFTPD_FIRST),
        ("XPWD", PROFTPD_FIRST),
        ("XRMD", PROFTPD_FIRST),
    ],
    unknown: "500 %v not understood\r\n",
    strangers: (
        &["CONNECT", "DELETE", "EHLO", "GET", "HEAD", "HELO", "OPTIONS", "PATCH", "POST", "PUT", "SSH-2.0-"],
        "",
    ),
    clock: Clock {
        limit: Duration::from_mins(5),
        rewound: false,
        words: "421 Login timeout (300 seconds): closing control connection\r\n",
    },
};

static PURE_FTPD: Product = Product {
    claim: "pure-ftpd",
    lines: Lines::Letters,
    line_max: (4100, Some("421 Line too long\r\n")),
    empty: "",
    user: "331 User %u OK. Password required\r\n",
    nobody: ("530 This is a private system - No anonymous login\r\n", After::HangsUp),
    pass_first: "530 Please tell me who you are\r\n",
    refused: "530 Login authentication failed\r\n",
    remembers: true,
    patience: (5.0 / 3.0, 1.0),
    unasked: 1.0,
    attempts: 6,
    goodbye: "221-Goodbye. You uploaded 0 and downloaded 0 kbytes.\r\n221 Logout.\r\n",
    features: [PURE_FEATURES, PURE_FEATURES],
    options: &[("", "504 Unknown command\r\n")],
    security: Security {
        accepted: "234 AUTH TLS OK.\r\n",
        unknown: "500 This security scheme is not implemented\r\n",
        pbsz: ["503 PBSZ=0\r\n", "200 PBSZ=0\r\n"],
        private: [PURE_PROT, "200 Data protection level set to \"private\"\r\n"],
        clear: [PURE_PROT, "200 Data protection level set to \"clear\"\r\n"],
        other: [PURE_PROT, "534 Fallback to [C]\r\n"],
    },
    replies: &[
        ("ACCT", "202 Please tell me who you are\r\n"),
        ("AUTH", "500 This security scheme is not implemented\r\n"),
        ("CCC", "534 CCC not allowed at this point\r\n"),
        (
            "HELP",
            "214-The following SITE commands are recognized\r\n ALIAS\r\n CHMOD\r\n IDLE\r\n UTIME\r\n\
             214 Pure-FTPd - http://pureftpd.org/\r\n",
        ),
        ("MODE", "200 S OK\r\n"),
        ("NOOP", "200 Zzz...\r\n"),
        ("PBSZ", "503 PBSZ=0\r\n"),
        ("PROT", PURE_PROT),
        ("STRU", "200 F OK\r\n"),
        ("SYST", "215 UNIX Type: L8\r\n"),
        ("TYPE", "200 TYPE is now 8-bit binary\r\n"),
    ],
    unknown: "530 You aren't logged in\r\n",
    strangers: (&["GET", "HEAD", "OPTIONS", "POST", "PUT"], "500 HTTP command: [%v]\r\n"),
    clock: Clock {
        limit: Duration::from_mins(15),
        rewound: true,
        words: "421 Timeout - try typing a little faster next time\r\n",
    },
};

const PURE_FEATURES: &str = "211-Extensions supported:\r\n UTF8\r\n EPRT\r\n IDLE\r\n MDTM\r\n SIZE\r\n MFMT\r\n \
    REST STREAM\r\n MLST type*;size*;sizd*;modify*;UNIX.mode*;UNIX.uid*;UNIX.gid*;unique*;\r\n MLSD\r\n PRET\r\n \
    AUTH TLS\r\n PBSZ\r\n PROT\r\n TVFS\r\n ESTA\r\n PASV\r\n EPSV\r\n ESTP\r\n211 End.\r\n";
const PURE_PROT: &str = "503 PROT must be preceded by a successful PBSZ command\r\n";

const MICROSOFT_FIRST: &str = "530 Please login with USER and PASS.\r\n";
const MICROSOFT_NO_TLS: &str = "534 Local policy on server does not allow TLS secure connections.\r\n";

/// From specification: Internet Information Services 8 and later as its documents and clients' logs show it.
static MICROSOFT: Product = Product {
    claim: "microsoft ftp",
    lines: Lines::Feed,
    line_max: (4096, Some("500 Command line too long.\r\n")),
    empty: "500 Syntax error, command unrecognized.\r\n",
    user: "331 Password required\r\n",
    nobody: ("501 Syntax error in parameters or arguments.\r\n", After::Listens),
    pass_first: "503 Login with USER first.\r\n",
    refused: "530 User cannot log in.\r\n",
    remembers: false,
    patience: (0.0, 0.0),
    unasked: 1.0,
    attempts: 0,
    goodbye: "221 Goodbye.\r\n",
    features: [MICROSOFT_FEATURES, MICROSOFT_FEATURES],
    options: &[
        ("UTF8 ON", "200 OPTS UTF8 command successful - UTF8 encoding now ON.\r\n"),
        ("UTF8 OFF", "200 OPTS UTF8 command successful - UTF8 encoding now OFF.\r\n"),
        ("", "501 Syntax error in parameters or arguments.\r\n"),
    ],
    security: Security {
        accepted: "234 AUTH command ok. Expecting TLS Negotiation.\r\n",
        unknown: "504 Security mechanism not implemented.\r\n",
        pbsz: ["503 Bad sequence of commands.\r\n", "200 PBSZ command successful.\r\n"],
        private: ["503 Bad sequence of commands.\r\n", "200 PROT command successful.\r\n"],
        clear: ["503 Bad sequence of commands.\r\n", "200 PROT command successful.\r\n"],
        other: ["503 Bad sequence of commands.\r\n", "504 Command not implemented for that parameter.\r\n"],
    },
    replies: &[
        ("ABOR", MICROSOFT_FIRST),
        ("AUTH", MICROSOFT_NO_TLS),
        ("CDUP", MICROSOFT_FIRST),
        ("CWD", MICROSOFT_FIRST),
        ("DELE", MICROSOFT_FIRST),
        ("EPRT", MICROSOFT_FIRST),
        ("EPSV", MICROSOFT_FIRST),
        ("LIST", MICROSOFT_FIRST),
        ("MDTM", MICROSOFT_FIRST),
        ("MKD", MICROSOFT_FIRST),
        ("NLST", MICROSOFT_FIRST),
        ("NOOP", "200 noop command successful.\r\n"),
        ("PASV", MICROSOFT_FIRST),
        ("PORT", MICROSOFT_FIRST),
        ("PWD", MICROSOFT_FIRST),
        ("RETR", MICROSOFT_FIRST),
        ("RMD", MICROSOFT_FIRST),
        ("SIZE", MICROSOFT_FIRST),
        ("STAT", MICROSOFT_FIRST),
        ("STOR", MICROSOFT_FIRST),
        ("SYST", "215 Windows_NT\r\n"),
        ("TYPE", MICROSOFT_FIRST),
    ],
    unknown: "500 Syntax error, command unrecognized.\r\n",
    strangers: (&[], ""),
    clock: Clock {
        limit: Duration::from_mins(2),
        rewound: true,
        words: "421 Timeout (120 seconds): closing control connection.\r\n",
    },
};

const MICROSOFT_FEATURES: &str = "211-Extended features supported:\r\n LANG EN*\r\n UTF8\r\n \
    AUTH TLS;TLS-C;SSL;TLS-P;\r\n PBSZ\r\n PROT C;P;\r\n CCC\r\n HOST\r\n SIZE\r\n MDTM\r\n REST STREAM\r\n211 END\r\n";

/// The verbs of RFC 959, 2389, 2428, 3659 and 4217: kept without a copy when a client says them.
pub(super) static VERBS: &[&str] = &[
    "USER", "PASS", "QUIT", "SYST", "FEAT", "AUTH", "OPTS", "PBSZ", "PROT", "HELP", "NOOP", "PWD", "TYPE",
    "PASV", "EPSV", "LIST", "ABOR", "ACCT", "ALLO", "APPE", "CCC", "CDUP", "CLNT", "CWD", "DELE", "EPRT",
    "HOST", "LANG", "MDTM", "MKD", "MLSD", "MLST", "MODE", "NLST", "PORT", "REIN", "REST", "RETR", "RMD",
    "RNFR", "RNTO", "SITE", "SIZE", "SMNT", "STAT", "STOR", "STOU", "STRU",
];
