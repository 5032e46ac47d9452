//! Answers for a file: conditions (RFC 9110, section 13) and ranges (section 14), each as the
//! server in the banner evaluates them.

use std::borrow::Cow;
use std::ops::Range;

use super::product::{Family, From, Product, Reply};
use super::request::{Head, Version, trim};
use super::skin::Page;

/// The answer to GET or HEAD of a file. `now` in seconds since the epoch.
pub(crate) fn serve<'a>(page: &'a Page, head: &Head<'_>, product: &Product, now: i64) -> Reply<'a> {
    let family = product.family;
    match condition(page, head, family, now) {
        Condition::Send => {}
        Condition::NotModified => return Reply { status: 304, body: Cow::Borrowed(b""), ..whole(page) },
        Condition::Failed if family == Family::Apache => {
            return Reply { status: 412, body: Cow::Borrowed(b""), ..whole(page) };
        }
        Condition::Failed => {
            // nginx says that it keeps the connection, and hangs up.
            return Reply { close: false, ..product.page(412, head) };
        }
    }
    let Some(field) = head.field("Range").filter(|_| if_range(page, head)) else { return whole(page) };
    if family == Family::Lighttpd && (head.method == b"HEAD" || head.version < Version::V11) {
        return whole(page);
    }
    match ranges(field, page.body.len(), family) {
        Ranges::All => whole(page),
        Ranges::None => unsatisfiable(page, head, product),
        Ranges::Some(list) => match list.as_slice() {
            [one] => part(page, one),
            several => parts(page, several, product, now),
        },
    }
}

fn whole(page: &Page) -> Reply<'_> {
    Reply {
        status: 200,
        content_type: Cow::Borrowed(page.content_type),
        body: Cow::Borrowed(&page.body),
        validators: Some((&page.etag, &page.modified_text)),
        from: From::File,
        ..Reply::default()
    }
}

fn part<'a>(page: &'a Page, range: &Range<usize>) -> Reply<'a> {
    Reply {
        status: 206,
        body: Cow::Borrowed(page.body.get(range.clone()).unwrap_or_default()),
        range: Some(content_range(range, page.body.len())),
        ..whole(page)
    }
}

fn content_range(range: &Range<usize>, size: usize) -> String {
    format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1))
}

fn parts<'a>(page: &'a Page, ranges: &[Range<usize>], product: &Product, now: i64) -> Reply<'a> {
    let nginx = product.family == Family::Nginx;
    let (kind, place) =
        if nginx { ("Content-Type", "Content-Range") } else { ("Content-type", "Content-range") };
    // nginx counts, Apache mixes the time of the request.
    let boundary =
        if nginx { format!("{:020}", now % 10_000) } else { format!("{now:x}{:08x}", page.modified) };
    let mut body = Vec::with_capacity(page.body.len().saturating_add(512));
    for range in ranges {
        body.extend_from_slice(
            format!(
                "\r\n--{boundary}\r\n{kind}: {}\r\n{place}: {}\r\n\r\n",
                page.content_type,
                content_range(range, page.body.len())
            )
            .as_bytes(),
        );
        body.extend_from_slice(page.body.get(range.clone()).unwrap_or_default());
    }
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    Reply {
        status: 206,
        content_type: Cow::Owned(format!("multipart/byteranges; boundary={boundary}")),
        body: Cow::Owned(body),
        ..whole(page)
    }
}

fn unsatisfiable(page: &Page, head: &Head<'_>, product: &Product) -> Reply<'static> {
    let range = (product.family == Family::Nginx || product.family == Family::Iis)
        .then(|| format!("bytes */{}", page.body.len()));
    Reply { range, ..product.page(416, head) }
}

enum Condition {
    Send,
    NotModified,
    Failed,
}

fn condition(page: &Page, head: &Head<'_>, family: Family, now: i64) -> Condition {
    if head.fields.iter().all(|it| !it.name.get(..3).is_some_and(|it| it.eq_ignore_ascii_case(b"if-"))) {
        return Condition::Send;
    }
    if family != Family::Lighttpd {
        let since = head.field("If-Unmodified-Since").and_then(parse_date);
        if since.is_some_and(|it| page.modified > it) {
            return Condition::Failed;
        }
        if head.field("If-Match").is_some_and(|it| !lists(it, &page.etag, false)) {
            return Condition::Failed;
        }
    }
    let tagged = head.field("If-None-Match").map(|it| lists(it, &page.etag, true));
    let since = head.field("If-Modified-Since").map(|it| {
        let date = parse_date(it);
        match family {
            Family::Nginx => date == Some(page.modified),
            Family::Apache => date.is_some_and(|it| page.modified <= it && it <= now),
            Family::Lighttpd | Family::Iis => date.is_some_and(|it| page.modified <= it),
        }
    });
    let unchanged = match (tagged, since) {
        (None, None) => false,
        (Some(tagged), Some(since)) if family == Family::Nginx => tagged && since,
        (Some(tagged), _) => tagged,
        (None, Some(since)) => since,
    };
    if unchanged { Condition::NotModified } else { Condition::Send }
}

/// Whether a list of entity tags holds this one.
fn lists(field: &[u8], etag: &str, weakly: bool) -> bool {
    field == b"*"
        || field.split(|it| *it == b',').map(trim).any(|tag| {
            let tag = if weakly { tag.strip_prefix(b"W/").unwrap_or(tag) } else { tag };
            tag == etag.as_bytes()
        })
}

fn if_range(page: &Page, head: &Head<'_>) -> bool {
    match head.field("If-Range") {
        None => true,
        Some(tag) if tag.ends_with(b"\"") => tag == page.etag.as_bytes(),
        Some(date) => parse_date(date) == Some(page.modified),
    }
}

#[derive(Debug, PartialEq)]
enum Ranges {
    /// The field has no effect.
    All,
    /// No range lies within the file.
    None,
    Some(Vec<Range<usize>>),
}

fn ranges(field: &[u8], size: usize, family: Family) -> Ranges {
    let Some(list) = field.get(..6).filter(|it| it.eq_ignore_ascii_case(b"bytes=")).and(field.get(6..))
    else {
        return Ranges::All;
    };
    let malformed = if family == Family::Apache { Ranges::All } else { Ranges::None };
    let mut found = Vec::new();
    for (count, one) in list.split(|it| *it == b',').enumerate() {
        match range(trim(one), size) {
            Some(range) if range.is_empty() => {}
            Some(range) => found.push(range),
            None => return malformed,
        }
        if count >= RANGES_MAX {
            return Ranges::All;
        }
    }
    let total = found.iter().fold(0_usize, |sum, it| sum.saturating_add(it.len()));
    if found.is_empty() {
        Ranges::None
    } else if found.len() > 1 && (total > size || matches!(family, Family::Lighttpd | Family::Iis)) {
        Ranges::All
    } else {
        Ranges::Some(found)
    }
}

/// One range, empty when it lies behind the end; `None` when it is none.
fn range(text: &[u8], size: usize) -> Option<Range<usize>> {
    let text = std::str::from_utf8(text).ok()?;
    let (first, last) = text.split_once('-')?;
    let (first, last) = (first.trim(), last.trim());
    let number = |it: &str| {
        (!it.is_empty() && it.bytes().all(|it| it.is_ascii_digit())).then(|| it.parse().unwrap_or(usize::MAX))
    };
    if first.is_empty() {
        return Some(size.saturating_sub(number(last)?)..size);
    }
    let first = number(first)?;
    let end = if last.is_empty() { size } else { number(last)?.saturating_add(1) };
    if end <= first && first < size {
        return None;
    }
    if first >= size { Some(0..0) } else { Some(first..end.min(size)) }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` as seconds since the epoch.
fn parse_date(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix(" GMT")?;
    let mut words = text.split_once(", ")?.1.split(' ');
    let day: i64 = words.next()?.parse().ok()?;
    let month = words.next()?;
    let month = i64::try_from(MONTHS.iter().position(|it| *it == month)?).ok()?;
    let year: i64 = words.next()?.parse().ok().filter(|it| (1970..=9999).contains(it))?;
    let mut clock =
        words.next()?.split(':').map(|it| it.parse::<i64>().ok().filter(|it| (0..=60).contains(it)));
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    // Years that begin in March put the leap day last.
    let (year, month) = if month < 2 {
        (year.checked_sub(1)?, month.checked_add(10)?)
    } else {
        (year, month.checked_sub(2)?)
    };
    let days = year
        .checked_mul(365)?
        .checked_add(year / 4)?
        .checked_sub(year / 100)?
        .checked_add(year / 400)?
        .checked_add(month.checked_mul(153)?.checked_add(2)? / 5)?
        .checked_add(day)?
        .checked_sub(719_469)?;
    days.checked_mul(86_400)?
        .checked_add(hour.checked_mul(3600)?)?
        .checked_add(minute.checked_mul(60)?)?
        .checked_add(second)
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// More ranges than this are an attack on servers that assemble them.
const RANGES_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_read_back_as_they_are_written() {
        for second in (0..2_000_000_000).step_by(7_654_321) {
            let text = serin_event::Timestamp(second * 1_000_000).http_date();
            assert_eq!(parse_date(text.as_bytes()), Some(second), "{text}");
        }
        for junk in
            [&b"junk"[..], b"Sun, 06 Foo 1994 08:49:37 GMT", b"Sun, x Nov 1994 08:49:37 GMT", b"", b"\xff"]
        {
            assert_eq!(parse_date(junk), None);
        }
    }

    #[test]
    #[allow(clippy::single_range_in_vec_init, reason = "a list of one range is meant")]
    fn ranges_are_cut_to_the_file() {
        let nginx = |it: &str| ranges(it.as_bytes(), 100, Family::Nginx);
        assert_eq!(nginx("bytes=0-9"), Ranges::Some(vec![0..10]));
        assert_eq!(nginx("bytes=90-"), Ranges::Some(vec![90..100]));
        assert_eq!(nginx("bytes=-5"), Ranges::Some(vec![95..100]));
        assert_eq!(nginx("bytes=-500"), Ranges::Some(vec![0..100]));
        assert_eq!(nginx("bytes=0-1, 5-6"), Ranges::Some(vec![0..2, 5..7]));
        assert_eq!(nginx("bytes=100-"), Ranges::None);
        assert_eq!(nginx("bytes=99999999999999999999999-"), Ranges::None);
        assert_eq!(nginx("bytes=9-2"), Ranges::None);
        assert_eq!(nginx("bytes=0-99,0-99"), Ranges::All);
        assert_eq!(nginx("lines=1-2"), Ranges::All);
        assert_eq!(ranges(b"bytes=9-2", 100, Family::Apache), Ranges::All);
        assert_eq!(ranges(b"bytes=x", 100, Family::Apache), Ranges::All);
    }
}
