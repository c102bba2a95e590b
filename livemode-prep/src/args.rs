//! What `livemode-prep` takes on its command line. Only definitions: its manual page and completions are made from them.
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Prepares an in-place upgrade that runs from a live image
#[derive(Parser)]
#[command(name = "livemode-prep", version)]
#[command(
    after_help = "Exit status: 0 done, 1 the operation failed, 2 usage, 3 the configuration is invalid, 4 a precondition is \
                        not met."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) shared: Shared,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Args)]
pub(crate) struct Shared {
    /// The source system
    #[arg(long, global = true, value_name = "DIR", default_value = "/")]
    pub(crate) root: PathBuf,
    /// Where the *.yaml files are [default: /etc/leapp/actor_conf.d below the root]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) config_dir: Option<PathBuf>,
    /// Facts from leapp (its messages by the name of their model, as JSON) in place of those gathered here
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) leapp_facts: Option<PathBuf>,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Load, check and print the configuration
    Config(Json),
    /// Print the packages that the target container must have
    Requirements(Json),
    /// Show what stands against an upgrade on this machine, before there is a container; writes nothing
    Check(Json),
    /// Show whether the upgrade may go on, and what build would do; writes nothing
    Plan(Plan),
    /// Show why something is in the plan as it is, or is not: from which fact, by which rule; writes nothing
    Explain(Explain),
    /// Build the image, the initramfs and the boot entry; on any error the system stays as it was
    Build(Userspace),
    /// Under leapp, once it has made its own boot entry: put what leapp's messages add on ours, and let ours boot once
    Entry {
        #[command(flatten)]
        output: Json,
        #[command(flatten)]
        risk: Risk,
    },
    /// Let the upgrade's entry boot once, and show what boots next and after that
    Arm {
        #[command(flatten)]
        output: Json,
        #[command(flatten)]
        risk: Risk,
    },
    /// Try an upgrade again that was given up, where neither this system nor the image has changed since
    Retry {
        #[command(flatten)]
        output: Json,
        #[command(flatten)]
        risk: Risk,
    },
    /// Let the old system boot; what is built stays. A second call is no error
    Disarm(Json),
    /// Put our actors in the place of those that leapp brings, and back
    Actors {
        #[command(subcommand)]
        action: Action,
    },
    /// Show what is prepared, and how the last upgrade went
    Status(Json),
    /// Take back everything that build made; a second call is no error
    Remove {
        /// Only if the upgrade has succeeded, and neither leapp nor somebody's own boot entry still needs it; else do nothing
        #[arg(long)]
        after_success: bool,
    },
    /// Print all that a plan is made from, for plan --facts; passwords in it are masked
    #[command(hide = true)]
    Facts(Userspace),
    /// Once standard input ends, when the transaction does that started it: settle what it has left half-done
    #[command(hide = true)]
    Sweep {
        /// Directories that were made for it
        #[arg(value_name = "DIR")]
        made: Vec<PathBuf>,
    },
}

#[derive(Clone, Copy, Subcommand)]
pub(crate) enum Action {
    /// Let leapp find our actors; its own are put aside
    Install,
    /// Put leapp's own back as they were, and ours out of its sight
    Restore,
    /// After an update of leapp: put aside what it has brought back, where ours are installed
    Refresh,
    /// Show whose actors leapp finds
    Status(Json),
}

#[derive(Clone, Copy, Args)]
pub(crate) struct Json {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Userspace {
    /// The target-system container, such as /var/lib/leapp/el9userspace [default: the one in leapp's facts]
    #[arg(long, value_name = "DIR")]
    pub(crate) userspace: Option<PathBuf>,
    /// Who keeps the boot entry; remove takes it back [default: the loader that boots, if it is one of these, else none]
    #[arg(long, value_enum)]
    pub(crate) boot_entry: Option<EntryKeeper>,
    #[command(flatten)]
    pub(crate) risk: Risk,
    #[command(flatten)]
    pub(crate) output: Json,
}

#[derive(Clone, Copy, Args)]
pub(crate) struct Risk {
    /// Arm the entry though GRUB cannot clear it: a machine that fails before early boot boots it again and again
    #[arg(long)]
    pub(crate) accept_loop_risk: bool,
}

#[derive(Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) userspace: Userspace,
    /// Show every file, link and service of the live system as well
    #[arg(long)]
    pub(crate) all: bool,
    /// Plan from facts of another machine, in place of this one's
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) facts: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Explain {
    /// A key of the configuration, a kernel argument, a package, a unit, a mount point or a path
    #[arg(value_name = "KEY|WORD|PATH")]
    pub(crate) what: String,
    /// The target-system container; without it, what can be said before there is one
    #[arg(long, value_name = "DIR")]
    pub(crate) userspace: Option<PathBuf>,
    /// Facts of another machine, as livemode-prep facts wrote them, in place of this one's
    #[arg(long, value_name = "FILE", conflicts_with = "userspace")]
    pub(crate) facts: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EntryKeeper {
    /// Nobody: the kernel arguments are printed and left to you
    None,
    /// GRUB: an entry of our own boots once, then the old system again
    #[value(alias = "grubby")]
    Grub,
    /// systemd-boot: the same, on its own partition
    SystemdBoot,
    /// The same under leapp, which makes an entry of its own after build; entry then arms ours
    Leapp,
}

impl EntryKeeper {
    /// Its name in the manifest.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Grub => "grub",
            Self::SystemdBoot => "systemd-boot",
            Self::Leapp => "leapp",
        }
    }
}
