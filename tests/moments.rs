//! Of `make faults`, what takes little time: a power cut at random moments, and cases that are over soon.
#![allow(clippy::unwrap_used)]
use livemode_tests::disk::Scratch;
use livemode_tests::faults::{Case, Lab, Layout, Story};

const NOTHING: [String; 0] = [];

fn meets(name: &str) {
    let scratch = Scratch::new(8).unwrap();
    let lab = Lab::new(scratch.path(), Layout::InPlace).unwrap();
    let rested = lab.meets(Case::named(name)).unwrap();
    assert_eq!(rested.wrong, NOTHING, "{:?}: {}", rested.row, rested.console);
}

fn cut_at_four_random_moments(layout: Layout) {
    let scratch = Scratch::new(8).unwrap();
    let lab = Lab::new(scratch.path(), layout).unwrap();
    let stories: Vec<Story> = (1..=4).map(|seed| Story::of_seed(seed, lab.whole())).collect();
    let first: Vec<_> = stories.iter().map(|story| story.moments[0].clone()).collect();
    for (story, cut) in stories.iter().zip(lab.cuts(&first).unwrap()) {
        let rested = lab.after(story, &cut).unwrap();
        assert_eq!(rested.wrong, NOTHING, "{:?}: {}", rested.row, rested.console);
    }
}

#[test]
fn vm_a_power_cut_at_four_random_moments() {
    cut_at_four_random_moments(Layout::InPlace);
}

#[test]
fn vm_a_power_cut_at_four_random_moments_of_an_upgrade_in_layers() {
    cut_at_four_random_moments(Layout::InLayers);
}

#[test]
fn vm_a_service_that_is_killed_leads_back_to_the_old_system() {
    meets("service killed");
}

#[test]
fn vm_a_leapp_that_hangs_leads_back_to_the_old_system() {
    meets("leapp hangs");
}
