//! Any line as a kernel command line: what is written reads as it was.
#![no_main]
use libfuzzer_sys::fuzz_target;
use livemode_common::cmdline::Cmdline;

fuzz_target!(|line: String| {
    let once = Cmdline::parse(&line);
    assert_eq!(Cmdline::parse(&once.to_string()), once);
});
