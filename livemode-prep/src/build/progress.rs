//! Progress for a person: the step, a bar where a size is known, the time. On stderr; a program sees nothing.
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Steps of one run.
pub(crate) struct Progress {
    quiet: bool,
    total: u32,
    current: u32,
    step: Option<(String, Instant, ProgressBar)>,
}

impl Progress {
    pub(crate) fn new(total: u32, quiet: bool) -> Self {
        Self {
            quiet,
            total,
            current: 0,
            step: None,
        }
    }

    /// Ends the step before and starts the next; `size` in bytes where it is known.
    pub(crate) fn step(&mut self, name: &str, size: Option<u64>) {
        self.finish();
        self.current += 1;
        let label = format!("[{}/{}] {name}", self.current, self.total);
        let on_terminal = !self.quiet && std::io::stderr().is_terminal();
        let target = if on_terminal {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(size, target);
        let template = if size.is_some() {
            "{msg} {bar:30} {bytes}/{total_bytes} {elapsed}"
        } else {
            "{msg} {spinner} {elapsed}"
        };
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.set_message(label.clone());
        bar.enable_steady_tick(Duration::from_millis(200));
        self.step = Some((label, Instant::now(), bar));
    }

    /// Of what the current step does at the same time, this is done.
    pub(crate) fn part_is_done(&self, name: &str) {
        if let Some((label, started, bar)) = self.step.as_ref().filter(|_| !self.quiet) {
            let line = format!("{label}: {name}  {:.1} s", started.elapsed().as_secs_f32());
            bar.suspend(|| eprintln!("{line}"));
        }
    }

    /// Bytes of the current step that are done.
    pub(crate) fn at(&self, bytes: u64) {
        if let Some((_, _, bar)) = &self.step {
            bar.set_position(bytes);
        }
    }

    /// Ends the last step.
    pub(crate) fn finish(&mut self) {
        if let Some((label, started, bar)) = self.step.take() {
            bar.finish_and_clear();
            if !self.quiet {
                eprintln!("{label}  {:.1} s", started.elapsed().as_secs_f32());
            }
        }
    }
}
