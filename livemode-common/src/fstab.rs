//! fstab(5): lines in, entries out, and back.
use std::fmt;

use anyhow::{bail, Result};
use serde::{Deserialize, Serialize};

/// One entry, under the names of struct fstab and of leapp's FstabEntry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
}

impl Entry {
    /// The options, one by one.
    pub fn options(&self) -> impl Iterator<Item = &str> {
        self.fs_mntops.split(',').filter(|o| !o.is_empty())
    }

    /// Whether `option` is among the options.
    pub fn has(&self, option: &str) -> bool {
        self.options().any(|o| o == option)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_zero = |field: &str| {
            if field.is_empty() {
                "0".to_owned()
            } else {
                field.to_owned()
            }
        };
        write!(
            f,
            "{} {} {} {} {} {}",
            escape(&self.fs_spec),
            escape(&self.fs_file),
            escape(&self.fs_vfstype),
            escape(&self.fs_mntops),
            escape(&or_zero(&self.fs_freq)),
            escape(&or_zero(&self.fs_passno))
        )
    }
}

/// What parts fields (getmntent(3)).
const BLANKS: [char; 2] = [' ', '\t'];

/// The entries of an fstab's text.
///
/// # Errors
/// When a line has fewer than three fields; the error names the line.
pub fn parse(text: &str) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_matches(BLANKS);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let fields: Vec<&str> = line.split(BLANKS).filter(|field| !field.is_empty()).collect();
        if fields.len() < 3 {
            bail!(
                "line {}: expected device, mount point and type, found '{line}'",
                number + 1
            );
        }
        let field = |i: usize, default: &str| fields.get(i).map_or(default.to_owned(), |f| unescape(f));
        entries.push(Entry {
            fs_spec: field(0, ""),
            fs_file: field(1, ""),
            fs_vfstype: field(2, ""),
            fs_mntops: field(3, "defaults"),
            fs_freq: field(4, "0"),
            fs_passno: field(5, "0"),
        });
    }
    Ok(entries)
}

/// Turns `\040` and its like, as fstab(5) and proc(5) write blanks, into what they stand for.
pub fn unescape(field: &str) -> String {
    let mut parts = field.split('\\');
    let mut out = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part.get(..3).and_then(octal) {
            Some(byte) => {
                out.push(byte);
                out.extend_from_slice(&part.as_bytes()[3..]);
            }
            None => {
                out.push(b'\\');
                out.extend_from_slice(part.as_bytes());
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn octal(digits: &str) -> Option<u8> {
    // from_str_radix() takes a sign too.
    let are_digits = digits.bytes().all(|b| matches!(b, b'0'..=b'7'));
    are_digits.then(|| u8::from_str_radix(digits, 8).ok())?
}

fn escape(field: &str) -> String {
    field
        .replace('\\', r"\134")
        .replace(' ', r"\040")
        .replace('\t', r"\011")
        .replace('#', r"\043")
        .replace('\n', r"\012")
        .replace('\r', r"\015")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_survives_the_round_trip() {
        let line = r"UUID=0a3407de-014b-458b-b5c1-848e92a327a3 /mnt/a\040b xfs defaults,nofail 0 2";
        let entries = parse(&format!("# comment\n\n{line}\n")).unwrap();
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
            assert_eq!(parse(&once[0].to_string()).unwrap(), once, "{line}");
        }
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

    #[test]
    fn options_are_looked_at_as_a_whole() {
        let entry = &parse("/dev/sda1 / ext4 ,noauto,,x-systemd.automount 0 1").unwrap()[0];
        assert_eq!(
            entry.options().collect::<Vec<_>>(),
            ["noauto", "x-systemd.automount"]
        );
        assert!(entry.has("noauto"));
        assert!(!entry.has("auto") && !entry.has(""));
    }

    #[test]
    fn only_a_backslash_with_three_octal_digits_is_an_escape() {
        for (text, plain) in [
            (r"a\040b", "a b"),
            (r"\134040", r"\040"),
            (r"\04", r"\04"),
            (r"\089", r"\089"),
            (r"\777", r"\777"),
            (r"\+12", r"\+12"),
            ("a040", "a040"),
            (r"x\", r"x\"),
            ("é", "é"),
        ] {
            assert_eq!(unescape(text), plain, "{text}");
        }
    }
}
