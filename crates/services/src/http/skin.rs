//! Skins: the pages and files that a client sees, our own or the operator's.
//!
//! A skin is a folder: `index.html` (the login page), `403.html`, `404.html`, `redirect.html` and
//! files below `static/`. In `index.html` the text between `<!--STARTERR-->` and `<!--ENDERR-->`
//! is shown after a refused login only, that between `<!--STARTEMPTY-->` and `<!--ENDEMPTY-->`
//! after one without a user name; `[[HOST]]` is the host's name. In `403.html` and `404.html`,
//! `[[URL]]` is the path asked for and `[[BANNER]]` the server's banner.

use std::collections::{BTreeMap, BTreeSet};

use serin_event::Timestamp;

use super::product::{Product, html};
use crate::conf::{File, Folder, Identity};

/// A path within a skin, and what is there.
type Entry = (&'static str, &'static [u8]);

/// Names and files of the skins that come with the program.
const BUILT_IN: &[(&str, &[Entry])] = &[
    (
        "basicLogin",
        &[
            ("index.html", include_bytes!("skins/basicLogin/index.html")),
            ("redirect.html", include_bytes!("skins/basicLogin/redirect.html")),
            ("static/form.css", include_bytes!("skins/basicLogin/static/form.css")),
        ],
    ),
    (
        "nasLogin",
        &[
            ("index.html", include_bytes!("skins/nasLogin/index.html")),
            ("redirect.html", include_bytes!("skins/nasLogin/redirect.html")),
            ("favicon.ico", include_bytes!("skins/nasLogin/favicon.ico")),
            ("static/login.css", include_bytes!("skins/nasLogin/static/login.css")),
            ("static/login.js", include_bytes!("skins/nasLogin/static/login.js")),
            ("static/icon.svg", include_bytes!("skins/nasLogin/static/icon.svg")),
        ],
    ),
];

/// A skin, ready to be sent.
#[derive(Debug)]
pub(crate) struct Skin {
    /// The login page as a file.
    pub(crate) login: Page,
    /// The login page after a wrong password.
    pub(crate) refused: Vec<u8>,
    /// The login page after a login without a user name.
    pub(crate) empty: Vec<u8>,
    /// What `/` answers.
    pub(crate) redirect: Option<Vec<u8>>,
    /// The skin's own page for what is forbidden.
    pub(crate) forbidden: Option<Template>,
    /// The skin's own page for what is not there.
    pub(crate) missing: Option<Template>,
    files: BTreeMap<String, Page>,
    folders: BTreeSet<String>,
}

/// A file, with everything that an answer says about it.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) body: Vec<u8>,
    pub(crate) content_type: &'static str,
    pub(crate) etag: String,
    /// Seconds since the epoch.
    pub(crate) modified: i64,
    /// The same as `Last-Modified` has it.
    pub(crate) modified_text: String,
}

/// A page with holes for the path.
#[derive(Debug)]
pub(crate) struct Template(Vec<Vec<u8>>);

/// What a path leads to.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    File(&'a Page),
    Folder,
    Nothing,
}

/// The names of the skins that come with the program.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|it| it.0)
}

/// The files of a skin that comes with the program, as old as this installation pretends to be.
pub(crate) fn built_in(name: &str, identity: &Identity) -> Option<Folder> {
    let files = BUILT_IN.iter().find(|it| it.0 == name)?.1;
    let days = i64::try_from(identity.seed % 300).unwrap_or_default();
    let second = i64::try_from((identity.seed / 300) % 86_400).unwrap_or_default();
    // Some day of the year from March 2025 on.
    let modified = days.saturating_mul(86_400).saturating_add(second).saturating_add(1_741_000_000);
    Some(Folder(
        files
            .iter()
            .map(|(path, bytes)| ((*path).to_owned(), File { bytes: (*bytes).into(), modified }))
            .collect(),
    ))
}

impl Skin {
    /// Prepares a skin's pages; `None` when there is no `index.html`.
    pub(crate) fn new(folder: &Folder, product: &Product, identity: &Identity) -> Option<Self> {
        let index = folder.0.get("index.html")?;
        let host = escaped(identity.host.as_bytes());
        let shown = replaced(&index.bytes, b"[[HOST]]", &host);
        let error = without(&shown, b"<!--STARTEMPTY-->", b"<!--ENDEMPTY-->");
        let refused = unmarked(&error, b"<!--STARTERR-->", b"<!--ENDERR-->");
        let empty = if error == shown {
            refused.clone()
        } else {
            let empty = without(&shown, b"<!--STARTERR-->", b"<!--ENDERR-->");
            unmarked(&empty, b"<!--STARTEMPTY-->", b"<!--ENDEMPTY-->")
        };
        let login = without(&error, b"<!--STARTERR-->", b"<!--ENDERR-->");
        let template = |name: &str| {
            folder.0.get(name).map(|it| {
                let banner = escaped(product.banner.as_bytes());
                Template(split(&replaced(&it.bytes, b"[[BANNER]]", &banner), b"[[URL]]"))
            })
        };
        let mut files = BTreeMap::new();
        let mut folders = BTreeSet::new();
        for (path, file) in &folder.0 {
            if PAGES.contains(&path.as_str()) {
                continue;
            }
            for (at, _) in path.match_indices('/') {
                folders.insert(format!("/{}", path.get(..at).unwrap_or_default()));
            }
            let path = format!("/{path}");
            let page = Page::new(&path, file.bytes.to_vec(), file.modified, product);
            files.insert(path, page);
        }
        Some(Self {
            login: Page::new("/index.html", login, index.modified, product),
            refused,
            empty,
            redirect: folder.0.get("redirect.html").map(|it| it.bytes.to_vec()),
            forbidden: template("403.html"),
            missing: template("404.html"),
            files,
            folders,
        })
    }

    /// What this path, decoded, leads to.
    pub(crate) fn find(&self, path: &[u8]) -> Found<'_> {
        let Ok(path) = std::str::from_utf8(path) else { return Found::Nothing };
        if let Some(page) = self.files.get(path) {
            return Found::File(page);
        }
        let folder = path.strip_suffix('/').unwrap_or(path);
        if self.folders.contains(folder) { Found::Folder } else { Found::Nothing }
    }
}

impl Page {
    fn new(path: &str, body: Vec<u8>, modified: i64, product: &Product) -> Self {
        Self {
            content_type: product.content_type(path),
            etag: product.etag(path, body.len(), modified),
            modified,
            modified_text: Timestamp(modified.saturating_mul(1_000_000)).http_date(),
            body,
        }
    }
}

impl Template {
    /// The page for this path.
    pub(crate) fn fill(&self, path: &[u8]) -> Vec<u8> {
        let path = escaped(path);
        let mut page = Vec::new();
        for (at, part) in self.0.iter().enumerate() {
            if at > 0 {
                page.extend_from_slice(&path);
            }
            page.extend_from_slice(part);
        }
        page
    }
}

fn escaped(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    html(bytes, &mut out);
    out
}

fn split(text: &[u8], by: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((part, after)) = cut(rest, by) {
        parts.push(part.to_vec());
        rest = after;
    }
    parts.push(rest.to_vec());
    parts
}

/// What stands before and after the first `mark`.
fn cut<'a>(text: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = memchr::memmem::find(text, mark)?;
    let (before, after) = text.split_at_checked(at)?;
    Some((before, after.get(mark.len()..)?))
}

fn replaced(text: &[u8], mark: &[u8], by: &[u8]) -> Vec<u8> {
    split(text, mark).join(by)
}

/// Without the marks and what stands between them.
fn without(text: &[u8], start: &[u8], end: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = cut(rest, start) {
        let Some((_, after)) = cut(after, end) else { break };
        kept.extend_from_slice(before);
        rest = after;
    }
    kept.extend_from_slice(rest);
    kept
}

/// Without the marks.
fn unmarked(text: &[u8], start: &[u8], end: &[u8]) -> Vec<u8> {
    replaced(&replaced(text, start, b""), end, b"")
}

/// Files of a skin that have a meaning of their own and are not served by name.
const PAGES: &[&str] = &["index.html", "redirect.html", "400.html", "403.html", "404.html"];

#[cfg(test)]
mod tests {
    use super::*;

    fn skin(files: &[(&str, &str)]) -> Skin {
        let folder = Folder(
            files
                .iter()
                .map(|(path, text)| {
                    ((*path).to_owned(), File { bytes: text.as_bytes().into(), modified: 1_750_000_000 })
                })
                .collect(),
        );
        Skin::new(&folder, &Product::new("nginx/1.22.1", &Identity::default(), 80), &Identity::default())
            .unwrap()
    }

    #[test]
    fn the_error_shows_only_after_an_attempt() {
        let skin = skin(&[("index.html", "a<!--STARTERR-->wrong<!--ENDERR-->b")]);
        assert_eq!(skin.login.body, b"ab");
        assert_eq!(skin.refused, b"awrongb");
        assert_eq!(skin.empty, b"awrongb");
        assert_eq!(skin.login.etag, "\"684ee180-2\"");
    }

    #[test]
    fn an_empty_attempt_has_words_of_its_own() {
        let text = "<!--STARTERR-->wrong<!--ENDERR-->|<!--STARTEMPTY-->empty<!--ENDEMPTY-->";
        let skin = skin(&[("index.html", text)]);
        assert_eq!((&skin.login.body[..], &skin.refused[..]), (&b"|"[..], &b"wrong|"[..]));
        assert_eq!(skin.empty, b"|empty");
    }

    #[test]
    fn a_path_cannot_write_markup_into_a_page() {
        let skin = skin(&[("index.html", ""), ("404.html", "<p>[[URL]] [[BANNER]]</p>")]);
        let page = skin.missing.unwrap().fill(b"/<script>\"'&");
        assert_eq!(page, b"<p>/&lt;script&gt;&quot;&#39;&amp; nginx/1.22.1</p>");
    }

    #[test]
    fn files_and_folders_are_found_and_pages_are_not_served() {
        let skin = skin(&[("index.html", ""), ("403.html", "no"), ("static/img/a.png", "x")]);
        assert!(matches!(skin.find(b"/static/img/a.png"), Found::File(_)));
        for folder in [&b"/static"[..], b"/static/", b"/static/img/"] {
            assert!(matches!(skin.find(folder), Found::Folder), "{folder:?}");
        }
        for nothing in [&b"/403.html"[..], b"/static/b", b"/static/img/a.png/", b"/\xff"] {
            assert!(matches!(skin.find(nothing), Found::Nothing), "{nothing:?}");
        }
    }

    #[test]
    fn built_in_skins_are_whole_and_light() {
        for name in names() {
            let folder = built_in(name, &Identity::default()).unwrap();
            let size: usize = folder.0.values().map(|it| it.bytes.len()).sum();
            assert!(size < 30_000, "{name}: {size} bytes");
            let product = Product::new("nginx/1.22.1", &Identity::default(), 80);
            let skin = Skin::new(&folder, &product, &Identity::default()).unwrap();
            assert!(skin.redirect.is_some() && skin.refused != skin.login.body && skin.empty != skin.refused);
            let page = String::from_utf8(skin.refused.clone()).unwrap();
            assert!(!page.contains("<!--") && !page.contains("[["), "{name}: marks are left");
            // Everything that the page links to is there.
            for link in
                page.split(['"', '\'']).filter(|it| it.starts_with("/static/") || *it == "/favicon.ico")
            {
                assert!(matches!(skin.find(link.as_bytes()), Found::File(_)), "{name}: {link}");
            }
        }
        assert!(built_in("other", &Identity::default()).is_none());
    }
}
