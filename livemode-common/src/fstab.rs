//! fstab(5): lines in, entries out, and back.
use std::fmt;

use anyhow::{bail, Result};
use serde::{Deserialize, Serialize};

/// One entry, under the names of struct fstab and of leapp's FstabEntry.
#[derive(Debug, Clone, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Device, network share or other source.
    pub fs_spec: String,
    /// Mount point, or `none`.
    pub fs_file: String,
    /// Type of the file system.
    pub fs_vfstype: String,
    /// Options, comma-separated.
    pub fs_mntops: String,
    /// For dump(8).
    #[serde(default)]
    pub fs_freq: String,
    /// For fsck(8).
    #[serde(default)]
    pub fs_passno: String,
    /// The line of the file, from 1; 0 where that is not known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub line: usize,
}

fn is_zero(line: &usize) -> bool {
    *line == 0
}

/// The same wherever it stands.
impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.fs_spec == other.fs_spec
            && self.fs_file == other.fs_file
            && self.fs_vfstype == other.fs_vfstype
            && self.fs_mntops == other.fs_mntops
            && self.fs_freq == other.fs_freq
            && self.fs_passno == other.fs_passno
    }
}

impl Entry {
    /// The options, one by one ([`split_options`]).
    pub fn options(&self) -> impl Iterator<Item = &str> {
        split_options(&self.fs_mntops, Quotes::Count).into_iter()
    }

    /// Whether `option` is among the options.
    pub fn has(&self, option: &str) -> bool {
        self.options().any(|o| o == option)
    }
}

impl Entry {
    /// The entry of fields that still have the escapes of the file, as leapp hands them over.
    #[must_use]
    pub fn decoded(&self) -> Self {
        let field = |field: &str| lossy(&decode(field.as_bytes()));
        let (fs_freq, fs_passno) = numbers(format!("{} {}", self.fs_freq, self.fs_passno).as_bytes());
        Self {
            fs_spec: field(&self.fs_spec),
            fs_file: field(&self.fs_file),
            fs_vfstype: field(&self.fs_vfstype),
            fs_mntops: field(&self.fs_mntops),
            fs_freq,
            fs_passno,
            line: self.line,
        }
    }

    /// Why a line of fstab(5) cannot carry the entry, so that systemd would mount what is meant.
    pub fn not_carried(&self) -> Option<&'static str> {
        let fields = [&self.fs_spec, &self.fs_file, &self.fs_vfstype, &self.fs_mntops];
        if fields
            .iter()
            .any(|field| field.contains(char::REPLACEMENT_CHARACTER))
        {
            return Some("its line has bytes that are no UTF-8, which systemd does not read");
        }
        if fields[..3].iter().any(|field| field.is_empty()) {
            return Some("a field of its line is empty");
        }
        if fields.iter().any(|field| field.contains('\0')) {
            return Some("a field of its line has a NUL byte");
        }
        if self.fs_spec.starts_with('#') {
            return Some("its line begins with #, which makes it a comment");
        }
        (self.to_string().len() > LONGEST).then_some("its line is longer than getmntent(3) reads")
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or = |field: &str, default: &str| escape(if field.is_empty() { default } else { field });
        write!(
            f,
            "{} {} {} {} {} {}",
            escape(&self.fs_spec),
            escape(&self.fs_file),
            escape(&self.fs_vfstype),
            or(&self.fs_mntops, "defaults"),
            or(&self.fs_freq, "0"),
            or(&self.fs_passno, "0")
        )
    }
}

/// Whether a comma between double quotes separates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quotes {
    /// Not for mount(8): `context="system_u:object_r:x:s0:c1,c2"` is one option.
    Count,
    /// It does, as in crypttab(5).
    DoNotCount,
}

/// The options of fstab(5) and crypttab(5), one by one, as they are written. A comma behind a backslash is a part of its option
/// for both; so is one in quotes for libmount, which mount(8) reads options by, unless a quote stands alone.
#[must_use]
pub fn split_options(options: &str, quotes: Quotes) -> Vec<&str> {
    let counts = quotes == Quotes::Count && options.matches('"').count().is_multiple_of(2);
    let (mut found, mut start) = (Vec::new(), 0);
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, c) in options.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' if counts => is_quoted = !is_quoted,
            ',' if !is_quoted => {
                found.push(&options[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(&options[start..]);
    found.retain(|option| !option.is_empty());
    found
}

/// What glibc's getmntent(3) takes of a line, in bytes: its buffer less the newline and the end.
const LONGEST: usize = 4094;
/// What it decodes, and nothing else; `\\\\` too is a backslash.
const ESCAPES: [(&[u8], u8); 5] = [
    (br"\040", b' '),
    (br"\011", b'\t'),
    (br"\012", b'\n'),
    (br"\134", b'\\'),
    (br"\\", b'\\'),
];

/// The entries of an fstab, as glibc's getmntent(3) reads it, which systemd does too. A field that is no UTF-8 has
/// replacement characters, which [`Entry::not_carried`] finds.
///
/// # Errors
/// When a line has fewer than three fields; the error names the line.
pub fn parse(text: impl AsRef<[u8]>) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for (number, line) in text.as_ref().split(|&byte| byte == b'\n').enumerate() {
        let (first, _) = field(line);
        if first.is_empty() || first[0] == b'#' {
            continue;
        }
        let (spec, rest) = field(line);
        let (file, rest) = field(rest);
        let (kind, rest) = field(rest);
        let (options, rest) = field(rest);
        if kind.is_empty() {
            let line = lossy(line);
            bail!(
                "line {}: expected device, mount point and type, found '{}'",
                number + 1,
                line.trim()
            );
        }
        let (fs_freq, fs_passno) = numbers(rest);
        let text = |field: &[u8]| lossy(&decode(field));
        entries.push(Entry {
            fs_spec: text(spec),
            fs_file: text(file),
            fs_vfstype: text(kind),
            fs_mntops: if options.is_empty() {
                "defaults".to_owned()
            } else {
                text(options)
            },
            fs_freq,
            fs_passno,
            line: number + 1,
        });
    }
    Ok(entries)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// The next field of a line, and what follows it.
fn field(line: &[u8]) -> (&[u8], &[u8]) {
    let start = line.iter().position(|&b| !is_blank(b)).unwrap_or(line.len());
    let line = &line[start..];
    let end = line.iter().position(|&b| is_blank(b)).unwrap_or(line.len());
    line.split_at(end)
}

/// The last two fields, which are read with `sscanf(" %d %d ")`: what is no number, such as a comment, ends them.
fn numbers(rest: &[u8]) -> (String, String) {
    let (first, rest) = number(rest);
    let second = first.and_then(|_| number(rest).0);
    let text = |number: Option<i32>| number.unwrap_or_default().to_string();
    (text(first), text(second))
}

fn number(text: &[u8]) -> (Option<i32>, &[u8]) {
    let text = text.trim_ascii_start();
    let sign = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let digits = text[sign..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (number, rest) = text.split_at(sign + digits);
    let number = std::str::from_utf8(number)
        .ok()
        .and_then(|text| text.parse().ok());
    (number, rest)
}

fn decode(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, next)) = rest.split_first() {
        match ESCAPES.iter().find(|(code, _)| rest.starts_with(code)) {
            Some((code, byte)) => {
                out.push(*byte);
                rest = &rest[code.len()..];
            }
            None => {
                out.push(first);
                rest = next;
            }
        }
    }
    out
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Only what every reader decodes: `\043` would stay for getmntent(3), and a `#` within a line is none for it.
fn escape(field: &str) -> String {
    field
        .replace('\\', r"\134")
        .replace(' ', r"\040")
        .replace('\t', r"\011")
        .replace('\n', r"\012")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_survives_the_round_trip() {
        let line = r"UUID=0a3407de-014b-458b-b5c1-848e92a327a3 /mnt/a\040b xfs defaults,nofail 0 2";
        let entries = parse(format!("# comment\n\n{line}\n")).unwrap();
        assert_eq!(entries[0].fs_file, "/mnt/a b");
        assert_eq!(entries[0].to_string(), line);
    }

    #[test]
    fn what_is_written_reads_as_it_was() {
        // Found by fuzzing.
        for line in [
            r"a b t o 1\134171 0",
            r"a b t o\012p",
            "a b\u{b}c t o",
            r"a \040 t",
        ] {
            let once = parse(line).unwrap();
            assert_eq!(parse(once[0].to_string()).unwrap(), once, "{line}");
        }
    }

    #[test]
    fn fields_are_read_as_getmntent_reads_them() {
        let text = b"# disque de donn\xe9es\n\
            UUID=\"a\"\t/\txfs\tdefaults\t0 1\t# root disk\n\
            LABEL=My\\040Data /srv/C# ext4 defaults # comment\n\
            a\\043b /c\\\\d t\n\
            /dev/x /donn\xe9es ext4 defaults 0 0\n";
        let entries = parse(text).unwrap();
        let lines: Vec<String> = entries.iter().map(Entry::to_string).collect();
        assert_eq!(
            lines[..3],
            [
                "UUID=\"a\" / xfs defaults 0 1",
                r"LABEL=My\040Data /srv/C# ext4 defaults 0 0",
                r"a\134043b /c\134d t defaults 0 0",
            ]
        );
        assert_eq!(entries[2].fs_file, r"/c\d");
        assert_eq!(
            entries
                .iter()
                .filter(|entry| entry.not_carried().is_some())
                .count(),
            1
        );
    }

    #[test]
    fn raw_fields_are_decoded_once() {
        let raw = Entry {
            fs_spec: r"LABEL=My\040Data".into(),
            fs_file: r"/srv/my\040data".into(),
            fs_vfstype: "ext4".into(),
            fs_mntops: "defaults".into(),
            fs_freq: "0".into(),
            fs_passno: "#".into(),
            line: 0,
        };
        assert_eq!(
            raw.decoded(),
            parse(r"LABEL=My\040Data /srv/my\040data ext4 defaults 0 0").unwrap()[0]
        );
    }

    /// glibc's own getmntent, for every line of an fstab: its fields in hexadecimal, one mount a line.
    const GETMNTENT: &str = "\
import ctypes, sys
c = ctypes.CDLL(None)
class M(ctypes.Structure):
    _fields_ = [(n, ctypes.c_char_p) for n in 'abcd'] + [('e', ctypes.c_int), ('f', ctypes.c_int)]
c.setmntent.restype = ctypes.c_void_p
c.getmntent.argtypes, c.getmntent.restype = [ctypes.c_void_p], ctypes.POINTER(M)
f = c.setmntent(sys.argv[1].encode(), b'r')
while True:
    m = c.getmntent(f)
    if not m:
        break
    m = m.contents
    print(*[x.hex() for x in (m.a, m.b, m.c, m.d)], m.e, m.f)
";

    #[test]
    fn glibc_reads_of_each_line_what_was_meant() {
        // A linear congruential generator: the same fields at each run.
        let mut seed = 1u32;
        let mut next = move |below: usize| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 16) as usize % below
        };
        const PIECES: [&str; 18] = [
            " ", "\t", "\n", "\\", "#", "\"", "'", "\\040", "\\043", "\\\\", "\r", "0", "a", "/", "=", ",",
            "\u{e9}", "\u{b}",
        ];
        let mut field = |least: usize| -> String {
            let length = least + next(6);
            (0..length).map(|_| PIECES[next(PIECES.len())]).collect()
        };
        let entries: Vec<Entry> = (0..3000)
            .map(|number| Entry {
                fs_spec: field(1),
                fs_file: field(1),
                fs_vfstype: field(1),
                fs_mntops: field(1),
                fs_freq: (number % 3).to_string(),
                fs_passno: (number % 5).to_string(),
                line: 0,
            })
            .filter(|entry| entry.not_carried().is_none())
            .collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        let lines: String = entries.iter().map(|entry| format!("{entry}\n")).collect();
        std::fs::write(file.path(), &lines).unwrap();
        let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        let meant: Vec<String> = entries
            .iter()
            .map(|e| {
                let fields = [&e.fs_spec, &e.fs_file, &e.fs_vfstype, &e.fs_mntops].map(|field| hex(field));
                format!("{} {} {}", fields.join(" "), e.fs_freq, e.fs_passno)
            })
            .collect();
        let python = crate::cmd::Cmd::new("python3").args(["-c", GETMNTENT]);
        let said = python.arg(file.path()).read().unwrap();
        assert_eq!(said.lines().collect::<Vec<_>>(), meant);
        // And we read what we write.
        assert_eq!(parse(&lines).unwrap(), entries);
    }

    #[test]
    fn a_comma_in_quotes_or_behind_a_backslash_is_none() {
        for (options, quoted, plain) in [
            ("a,,b=c,", vec!["a", "b=c"], vec!["a", "b=c"]),
            (
                r#"rw,context="u:r:t:s0:c1,c2",nofail"#,
                vec!["rw", r#"context="u:r:t:s0:c1,c2""#, "nofail"],
                vec!["rw", r#"context="u:r:t:s0:c1"#, r#"c2""#, "nofail"],
            ),
            (
                r"header=/a\,b,luks",
                vec![r"header=/a\,b", "luks"],
                vec![r"header=/a\,b", "luks"],
            ),
            (r"a\\,b", vec![r"a\\", "b"], vec![r"a\\", "b"]),
            (
                r#"pass=a"b,nofail"#,
                vec![r#"pass=a"b"#, "nofail"],
                vec![r#"pass=a"b"#, "nofail"],
            ),
            ("", vec![], vec![]),
        ] {
            assert_eq!(split_options(options, Quotes::Count), quoted, "{options}");
            assert_eq!(split_options(options, Quotes::DoNotCount), plain, "{options}");
        }
    }

    #[test]
    fn each_entry_knows_its_line() {
        let entries = parse("# comment\n\na / t\n  # another\nb /b t\n").unwrap();
        assert_eq!(entries.iter().map(|entry| entry.line).collect::<Vec<_>>(), [3, 5]);
    }

    #[test]
    fn missing_fields_take_their_defaults_and_a_short_line_is_named() {
        assert_eq!(
            parse("/dev/sda1 / ext4").unwrap()[0].to_string(),
            "/dev/sda1 / ext4 defaults 0 0"
        );
        assert_eq!(
            parse("\n/dev/sda1 /").unwrap_err().to_string(),
            "line 2: expected device, mount point and type, found '/dev/sda1 /'"
        );
    }
}
