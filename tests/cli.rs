//! Black box, without root: each case of `tests/cases` says what it is expected to say.
#![allow(clippy::unwrap_used)]
use livemode_tests::golden;

#[test]
fn every_case_says_what_is_expected() {
    let cases = golden::cases().unwrap();
    assert!(cases.len() > 10, "{} cases", cases.len());
    let differences: Vec<String> = cases
        .iter()
        .filter_map(|case| golden::difference(case).unwrap())
        .collect();
    assert!(differences.is_empty(), "{}", differences.concat());
}
