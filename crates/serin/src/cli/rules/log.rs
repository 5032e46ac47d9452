//! The lines of a log: of a file, of one that was compressed with gzip, or of what is piped in.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

/// A log that is read line by line.
pub(super) struct Log {
    /// For people.
    pub(super) name: String,
    /// Lines so far.
    pub(super) number: u64,
    /// Bytes so far, unpacked.
    pub(super) bytes: u64,
    /// Bytes in total, where that is known.
    pub(super) size: Option<u64>,
    source: Box<dyn BufRead>,
    longest: u64,
}

/// What became of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// All of it was read.
    Whole,
    /// It is longer than a line may be, and was skipped.
    TooLong,
}

impl Log {
    /// Opens a file; `-` is the standard input.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if path.as_os_str() == "-" {
            return Self::of("standard input".to_owned(), io::stdin(), None, LONGEST);
        }
        let file = File::open(path)?;
        let about = file.metadata()?;
        if about.is_dir() {
            return Err(io::Error::other("it is a folder"));
        }
        let size = about.is_file().then_some(about.len());
        Self::of(path.display().to_string(), file, size, LONGEST)
    }

    fn of(
        name: String,
        mut source: impl Read + 'static,
        size: Option<u64>,
        longest: u64,
    ) -> io::Result<Self> {
        let mut first = Vec::new();
        source.by_ref().take(GZIP.len() as u64).read_to_end(&mut first)?;
        let zipped = first == GZIP;
        let whole = BufReader::with_capacity(BUFFER, io::Cursor::new(first).chain(source));
        let source: Box<dyn BufRead> = if zipped {
            Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(whole)))
        } else {
            Box::new(whole)
        };
        Ok(Self { name, number: 0, bytes: 0, size: size.filter(|_| !zipped), source, longest })
    }

    /// Reads the next line; `None`: there is no more. One that is too long counts as one.
    pub(super) fn next(&mut self, line: &mut Vec<u8>) -> io::Result<Option<Line>> {
        line.clear();
        let read = self.source.by_ref().take(self.longest).read_until(b'\n', line)? as u64;
        if read == 0 {
            return Ok(None);
        }
        self.number = self.number.saturating_add(1);
        self.bytes = self.bytes.saturating_add(read);
        let ended = read < self.longest || line.ends_with(b"\n");
        let skipped = if ended { 0 } else { self.source.skip_until(b'\n')? as u64 };
        self.bytes = self.bytes.saturating_add(skipped);
        if self.number == 1 && line.starts_with(BOM) {
            line.drain(..BOM.len());
        }
        Ok(Some(if skipped == 0 { Line::Whole } else { Line::TooLong }))
    }
}

/// The longest line that is read as one, its end included.
const LONGEST: u64 = 16 << 20;
const BUFFER: usize = 1 << 20;
/// How a file of gzip begins: RFC 1952, 2.3.1.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Some editors put it before a text in UTF-8.
const BOM: &[u8] = "\u{feff}".as_bytes();

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn lines(bytes: &[u8], longest: u64) -> io::Result<Vec<(u64, Line, String)>> {
        let mut log = Log::of("log".to_owned(), io::Cursor::new(bytes.to_vec()), None, longest)?;
        let (mut all, mut line) = (Vec::new(), Vec::new());
        while let Some(what) = log.next(&mut line)? {
            let text =
                if what == Line::Whole { String::from_utf8_lossy(&line).into_owned() } else { String::new() };
            all.push((log.number, what, text));
        }
        Ok(all)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_long_line_is_one_line_and_what_fits_is_whole() {
        let whole = |number, text: &str| (number, Line::Whole, text.to_owned());
        let long = |number| (number, Line::TooLong, String::new());
        assert_eq!(
            lines(b"a\n0123456789012345678901234567\nb\n\nc", 8).unwrap(),
            [whole(1, "a\n"), long(2), whole(3, "b\n"), whole(4, "\n"), whole(5, "c")]
        );
        assert_eq!(lines(b"1234567\n12345678", 8).unwrap(), [whole(1, "1234567\n"), whole(2, "12345678")]);
        assert_eq!(lines(b"123456789", 8).unwrap(), [long(1)]);
        assert_eq!(lines(b"", 8).unwrap(), []);
    }

    #[test]
    fn marks_and_gzip_are_seen_through() {
        let texts =
            |bytes: &[u8]| -> Vec<_> { lines(bytes, 64).unwrap().into_iter().map(|it| it.2).collect() };
        assert_eq!(texts("\u{feff}a\n\u{feff}b".as_bytes()), ["a\n", "\u{feff}b"], "only before the first");
        assert_eq!(texts(&gzip("\u{feff}a\nb\n".as_bytes())), ["a\n", "b\n"]);
        // What log rotation has put together.
        assert_eq!(texts(&[gzip(b"a\n"), gzip(b"b\n")].concat()), ["a\n", "b\n"]);
        let half = gzip(b"a\nb\n");
        assert!(lines(&half[..half.len() - 6], 64).is_err(), "cut off");
    }
}
