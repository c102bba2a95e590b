//! Any text as a configuration file: values or faults, never a panic, never without end.
#![no_main]
use libfuzzer_sys::fuzz_target;
use livemode_common::config;
use livemode_common::sysroot::SysRoot;

fuzz_target!(|text: String| {
    let root = SysRoot::new("/nonexistent");
    if let Err(faults) = config::merge(&[("fuzz.yaml".into(), text)], &root) {
        assert!(faults.iter().all(|fault| fault.starts_with("fuzz.yaml")));
    }
});
