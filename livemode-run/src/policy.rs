//! What follows a failure. Pure.
use livemode_common::config::{Config, OnFailure};

/// A live system that nobody can reach does not wait longer than this for somebody at its console, in minutes.
const UNREACHABLE_MIN: u32 = 30;

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterFailure {
    /// The old system boots, after a countdown.
    Return,
    /// The live system stays up for somebody; for so many minutes, where there is a limit. Then the old system boots.
    Hold(Option<u32>),
}

/// What a failure leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    /// The RPM transaction has begun, or may have: the old system is not whole.
    pub(crate) begun: bool,
    /// What boots next is ours to decide.
    pub(crate) has_loader: bool,
    /// Somebody is logged in, or has asked for the upgrade by hand.
    pub(crate) is_attended: bool,
}

/// Decides by what the failure leaves and by the configuration.
pub(crate) fn after_failure(left: Left, config: &Config) -> AfterFailure {
    if left.begun || !left.has_loader {
        return AfterFailure::Hold(None);
    }
    let by_itself = config.autostart_upgrade_after_reboot && config.on_failure == OnFailure::Return;
    if by_itself && !left.is_attended {
        return AfterFailure::Return;
    }
    let is_reachable = !config.setup_opensshd_using_auth_keys.is_empty();
    AfterFailure::Hold(match config.hold_limit {
        0 if is_reachable || left.is_attended => None,
        0 => Some(UNREACHABLE_MIN),
        minutes => Some(minutes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(change: impl FnOnce(&mut Config)) -> Config {
        let mut config = Config::default();
        change(&mut config);
        config
    }

    #[test]
    fn a_system_that_is_not_whole_is_never_what_boots() {
        for (begun, has_loader) in [(true, true), (true, false), (false, false)] {
            for is_attended in [true, false] {
                let left = Left {
                    begun,
                    has_loader,
                    is_attended,
                };
                let limited = config(|config| config.hold_limit = 5);
                assert_eq!(
                    after_failure(left, &limited),
                    AfterFailure::Hold(None),
                    "{left:?}"
                );
            }
        }
    }

    #[test]
    fn the_old_system_comes_back_by_itself_unless_somebody_looks_or_wants_to() {
        let left = |is_attended| Left {
            begun: false,
            has_loader: true,
            is_attended,
        };
        let hold = |config: &mut Config| config.on_failure = OnFailure::Hold;
        let by_hand = |config: &mut Config| config.autostart_upgrade_after_reboot = false;
        let ssh = |config: &mut Config| config.setup_opensshd_using_auth_keys = "/root/keys".into();
        for (config, is_attended, follows) in [
            (config(|_| ()), false, AfterFailure::Return),
            (config(|_| ()), true, AfterFailure::Hold(None)),
            (config(hold), false, AfterFailure::Hold(Some(30))),
            (config(by_hand), false, AfterFailure::Hold(Some(30))),
            (
                config(|config| {
                    hold(config);
                    ssh(config);
                }),
                false,
                AfterFailure::Hold(None),
            ),
            (
                config(|config| {
                    hold(config);
                    ssh(config);
                    config.hold_limit = 90;
                }),
                false,
                AfterFailure::Hold(Some(90)),
            ),
        ] {
            assert_eq!(after_failure(left(is_attended), &config), follows, "{config:?}");
        }
    }
}
