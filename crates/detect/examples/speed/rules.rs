//! Made-up rules, in the number, log sources and shapes of the large public collection.

use fastrand::Rng;

use crate::File;

const SEED: u64 = 7;

/// The logtypes that the public collection has rules for: one each, asking for nothing else.
const LOGTYPES: [u32; 24] = [
    2000, 3000, 3001, 4000, 4002, 5000, 5001, 5002, 5003, 5004, 5005, 6001, 7001, 8001, 9001, 9002, 10001,
    11001, 12001, 13001, 14001, 15001, 16001, 17001,
];

pub(crate) fn opencanary() -> Vec<File> {
    let rule = |logtype: u32| {
        file(
            &format!("opencanary {logtype}"),
            "{category: application, product: opencanary}",
            &format!("    selection:\n        logtype: {logtype}\n    condition: selection\n"),
        )
    };
    LOGTYPES.into_iter().map(rule).collect()
}

/// How many rules, for which source, over which fields.
const SOURCES: [(usize, &str, &[&str]); 22] = [
    (86, "{category: webserver}", &["cs-uri-query", "cs-uri-stem", "cs-user-agent", "cs-referer"]),
    (56, "{category: proxy}", &["c-uri", "c-useragent", "cs-host", "c-uri-query"]),
    (
        1206,
        "{category: process_creation, product: windows}",
        &["CommandLine", "Image", "ParentImage", "OriginalFileName"],
    ),
    (144, "{category: process_creation, product: linux}", &["CommandLine", "Image", "ParentImage"]),
    (68, "{category: process_creation, product: macos}", &["CommandLine", "Image", "ParentImage"]),
    (54, "{product: linux, service: auditd}", &["a0", "a1", "type", "exe", "name"]),
    (11, "{category: dns}", &["query", "record_type"]),
    (17, "{product: zeek, service: http}", &["uri", "user_agent", "host"]),
    (2, "{category: firewall}", &["dst_port", "src_ip"]),
    (209, "{category: registry_set, product: windows}", &["TargetObject", "Details", "Image"]),
    (196, "{category: file_event, product: windows}", &["TargetFilename", "Image"]),
    (170, "{category: ps_script, product: windows}", &["ScriptBlockText"]),
    (114, "{category: image_load, product: windows}", &["ImageLoaded", "Image"]),
    (
        56,
        "{category: network_connection, product: windows}",
        &["Image", "DestinationHostname", "DestinationPort"],
    ),
    (
        190,
        "{product: windows, service: security}",
        &["EventID", "ObjectName", "SubjectUserName", "AccessMask"],
    ),
    (96, "{product: windows, service: system}", &["EventID", "Provider_Name", "ServiceName"]),
    (410, "{product: windows, service: application}", &["EventID", "Data", "Channel"]),
    (210, "{product: azure, service: auditlogs}", &["properties.message", "operationName", "Category"]),
    (150, "{product: aws, service: cloudtrail}", &["eventSource", "eventName", "requestParameters.userName"]),
    (88, "{product: okta, service: okta}", &["eventtype", "outcome.reason"]),
    (140, "{product: m365, service: threat_management}", &["eventSource", "eventName", "status"]),
    (36, "{category: application, product: jvm}", &["message", "exception"]),
];

/// 3,700 rules and some.
pub(crate) fn public() -> Vec<File> {
    let mut random = Rng::with_seed(SEED);
    let mut files = Vec::new();
    for (count, source, fields) in SOURCES {
        for _ in 0..count {
            let title = format!("public {}", files.len());
            files.push(file(&title, source, &detection(&mut random, fields)));
        }
    }
    files
}

fn file(title: &str, source: &str, detection: &str) -> File {
    let text = format!(
        "title: {title}\nstatus: test\ndescription: Made up, to be as long as such rules are and to say nothing at all.\n\
         author: Nobody\ndate: 2026-11-22\ntags:\n    - attack.execution\n    - attack.t1059\n\
         logsource: {source}\ndetection:\n{detection}falsepositives:\n    - Unlikely\nlevel: high\n"
    );
    (format!("{title}.yml"), text)
}

/// A selection over one to three fields; sometimes a filter, sometimes keywords only.
fn detection(random: &mut Rng, fields: &[&str]) -> String {
    // Nearly all keyword rules of the public collection are for web servers and text logs.
    if fields[0].starts_with("cs-") && random.u8(0..10) < 3 {
        return format!("    keywords:\n{}    condition: keywords\n", list(random, 4, 12));
    }
    let mut text = String::from("    selection:\n");
    for field in fields.iter().take(random.usize(1..=3)) {
        text += &item(random, field);
    }
    if random.bool() {
        text += "    filter:\n";
        let field = fields[random.usize(0..fields.len())];
        text += &item(random, field);
        return text + "    condition: selection and not filter\n";
    }
    text + "    condition: selection\n"
}

fn item(random: &mut Rng, field: &str) -> String {
    match random.u8(0..100) {
        0..45 => format!("        {field}|contains:\n{}", list(random, 5, 14)),
        45..70 => format!("        {field}|endswith:\n{}", list(random, 3, 12)),
        70..78 => format!("        {field}|contains|all:\n{}", list(random, 3, 12)),
        78..84 => format!("        {field}|startswith: '{}'\n", word(random, 8)),
        84..86 => format!("        {field}|re: '{}[0-9a-f]{{4,}}\\.{}'\n", word(random, 5), word(random, 3)),
        86..88 => format!("        {field}|contains|windash: ' -{} '\n", word(random, 4)),
        88..92 => format!("        {field}: {}\n", random.u32(1000..9000)),
        _ => format!("        {field}:\n{}", list(random, 8, 14)),
    }
}

fn list(random: &mut Rng, most: usize, length: usize) -> String {
    let words: Vec<_> = (0..random.usize(1..=most)).map(|_| word(random, length)).collect();
    format!("            - '{}'\n", words.join("'\n            - '"))
}

/// Syllables, with a mark such as paths and command lines have between them.
fn word(random: &mut Rng, length: usize) -> String {
    const SYLLABLES: [&str; 24] = [
        "ad", "min", "cmd", "net", "ser", "vice", "pow", "er", "reg", "dll", "ex", "ec", "mi", "mi", "katz",
        "conf", "ig", "sh", "tmp", "upl", "oad", "inc", "lude", "union",
    ];
    const MARKS: [&str; 8] = ["/", ".", "-", "_", "=", "", "", ""];
    let mut word = String::new();
    while word.len() < length {
        word += MARKS[random.usize(0..MARKS.len())];
        word += SYLLABLES[random.usize(0..SYLLABLES.len())];
    }
    word
}
