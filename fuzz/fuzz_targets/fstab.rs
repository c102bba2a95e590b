//! Any text as an fstab: what is written reads as it was.
#![no_main]
use libfuzzer_sys::fuzz_target;
use livemode_common::fstab::parse;

fuzz_target!(|text: String| {
    let Ok(entries) = parse(&text) else { return };
    let written: String = entries.iter().map(|entry| format!("{entry}\n")).collect();
    assert_eq!(parse(&written).expect("what was written is an fstab"), entries);
});
