//! Words that a newer release reads differently: each has the rule that docs/options.md tells.
use livemode_common::cmdline::Word;

use crate::plan::storage::rule_of;
use crate::plan::words::{fate, Fate};

const DOCS: &str = include_str!("../../../../docs/options.md");

/// The last field of the row that names a word.
fn told(word: &str) -> &'static str {
    let table = DOCS
        .split("## What a newer release reads differently")
        .nth(1)
        .unwrap();
    let mut rows = table.lines().filter(|line| line.starts_with('|'));
    let row = rows.find(|row| {
        row.split('|')
            .nth(1)
            .is_some_and(|words| words.contains(&format!("`{word}`")))
    });
    let row = row.unwrap_or_else(|| panic!("docs/options.md has no row for {word}"));
    row.split('|').nth(3).unwrap().trim()
}

#[test]
fn a_word_of_the_kernels_line_goes_where_the_table_says() {
    for (key, carried) in [
        ("net.naming_scheme", true),
        ("biosdevname", true),
        ("net.ifnames", true),
        ("net.ifnames.prefix", false),
        ("systemd.unified_cgroup_hierarchy", false),
        ("systemd.legacy_systemd_cgroup_controller", false),
        ("elevator", false),
        ("crashkernel", true),
        ("scsi_mod.use_blk_mq", true),
        ("dm_mod.use_blk_mq", true),
        ("rd_NO_LUKS", false),
        ("rd_LVM_VG", false),
        ("rd_MD_UUID", false),
        ("rd.luks.options", true),
        ("rd.auto", false),
    ] {
        let is_carried = matches!(fate(&Word::pair(key, "1"), &|_| false), Fate::Carried { .. });
        assert_eq!(is_carried, carried, "{key}");
        let start = if carried {
            "carried"
        } else {
            "dropped, with a warning"
        };
        assert!(told(key).starts_with(start), "{key}: {}", told(key));
    }
}

#[test]
fn an_option_goes_where_the_table_says() {
    for (option, rule, start) in [
        ("nobarrier", "Leave", "left behind"),
        ("barrier", "Leave", "left behind"),
        ("attr2", "Leave", "left behind"),
        ("ikeep", "Leave", "left behind"),
        ("intr", "Leave", "left behind"),
        ("udp", "Drop", "dropped, with a warning"),
        ("proto=udp", "Drop", "dropped, with a warning"),
        ("proto=tcp", "Carry", ""),
        ("sec=ntlm", "Drop", "dropped, with a warning"),
        ("sec=ntlmssp", "Carry", ""),
        ("sec=krb5", "Carry", ""),
    ] {
        assert_eq!(rule_of(option), rule, "{option}");
        if !start.is_empty() {
            assert!(told(option).starts_with(start), "{option}: {}", told(option));
        }
    }
}
