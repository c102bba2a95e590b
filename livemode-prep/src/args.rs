//! What `livemode-prep` takes on its command line. Only definitions: its manual page and completions are made from them.
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use livemode_common::help_end;

macro_rules! ENVIRONMENT {
    () => {
        "Environment:\n  LEAPP_UNSUPPORTED  build refuses unless this is 1, and so does leapp: what LiveMode does is not supported \
         by leapp's makers.\n"
    };
}
macro_rules! FILES {
    () => {
        concat!(
            "Files:\n",
            "  /etc/leapp/actor_conf.d/*.yaml  The configuration: livemode.yaml(5).\n",
            "  /var/lib/leapp/live-upgrade.img  The image, unless squashfs_image_path says otherwise.\n",
            "  /var/lib/leapp/livemode/manifest.json  What build has made.\n",
            "  /var/lib/leapp/livemode/state.json  Where the upgrade stands.\n",
            "  /var/log/leapp/leapp-upgrade.log  The log of leapp.\n",
            "  /var/log/leapp/livemode-journal.log  The journal of the live system.\n",
            "  /etc/leapp/repos.d/livemode  The link by which leapp finds the actors of this package.\n",
        )
    };
}
macro_rules! EXAMPLES {
    () => {
        concat!(
            "Examples:\n",
            "  livemode-prep config  Shows the configuration and checks it.\n",
            "  livemode-prep plan --userspace /var/lib/leapp/el9userspace  Shows whether an upgrade may go on, and what build would do.\n",
            "  LEAPP_UNSUPPORTED=1 livemode-prep build --userspace /var/lib/leapp/el9userspace  Builds it; the next boot is the upgrade.\n",
            "  livemode-prep status  Shows what is prepared, and how the last upgrade went.\n",
            "  livemode-prep remove  Takes everything back.\n",
        )
    };
}
macro_rules! SEE {
    () => {
        "See also:\n  livemode(7), livemode.yaml(5), livemode.kargs(7), livemode-boot(8), livemode-run(8)\n"
    };
}
macro_rules! SEE_PREP {
    () => {
        "See also:\n  livemode-prep(8), livemode(7)\n"
    };
}

/// Prepares an in-place upgrade that runs from a live image
#[derive(Parser)]
#[command(name = "livemode-prep", version)]
#[command(after_long_help = help_end!(ENVIRONMENT!(), FILES!(), EXAMPLES!(), SEE!()))]
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
    #[command(after_long_help = help_end!(
        "Files:\n  /etc/leapp/actor_conf.d/*.yaml  Where the section livemode may stand.\n",
        SEE_PREP!()
    ))]
    Config(Json),
    /// Print the packages that the target container must have
    #[command(after_long_help = help_end!(SEE_PREP!()))]
    Requirements(Json),
    /// Show what stands against an upgrade on this machine, before there is a container; writes nothing
    #[command(after_long_help = help_end!(SEE_PREP!()))]
    Check(Json),
    /// Show whether the upgrade may go on, and what build would do; writes nothing
    #[command(after_long_help = help_end!(
        concat!(
            "Examples:\n",
            "  livemode-prep plan --userspace /var/lib/leapp/el9userspace  Opens with whether the upgrade may go on.\n",
            "  livemode-prep plan --userspace /var/lib/leapp/el9userspace --all  Lists every file of the live system too.\n"
        ),
        SEE_PREP!()
    ))]
    Plan(Plan),
    /// Show why something is in the plan as it is, or is not: from which fact, by which rule; writes nothing
    #[command(after_long_help = help_end!(
        concat!(
            "Examples:\n",
            "  livemode-prep explain rd.lvm.lv  Why this word does not come along.\n",
            "  livemode-prep explain strace --userspace /var/lib/leapp/el9userspace  Why the container needs this package.\n"
        ),
        SEE_PREP!()
    ))]
    Explain(Explain),
    /// Build the image, the initramfs and the boot entry; on any error the system stays as it was
    #[command(after_long_help = help_end!(
        ENVIRONMENT!(),
        concat!(
            "Examples:\n",
            "  LEAPP_UNSUPPORTED=1 livemode-prep build --userspace /var/lib/leapp/el9userspace  Builds, and lets the upgrade boot once.\n"
        ),
        SEE_PREP!()
    ))]
    Build(Userspace),
    /// Under leapp, once it has made its own boot entry: put what leapp's messages add on ours, and let ours boot once
    #[command(after_long_help = help_end!(SEE_PREP!()))]
    Entry {
        #[command(flatten)]
        output: Json,
        #[command(flatten)]
        risk: Risk,
    },
    /// Let the upgrade's entry boot once, and show what boots next and after that
    #[command(after_long_help = help_end!(SEE_PREP!()))]
    Arm {
        #[command(flatten)]
        output: Json,
        #[command(flatten)]
        risk: Risk,
    },
    /// Try an upgrade again that was given up, where neither this system nor the image has changed since
    #[command(after_long_help = help_end!(SEE_PREP!()))]
    Retry {
        #[command(flatten)]
        output: Json,
        #[command(flatten)]
        risk: Risk,
    },
    /// Let the old system boot; what is built stays. A second call is no error
    #[command(after_long_help = help_end!(SEE_PREP!()))]
    Disarm(Json),
    /// Put our actors in the place of those that leapp brings, and back
    #[command(after_long_help = help_end!(
        concat!(
            "Files:\n",
            "  /etc/leapp/repos.d/livemode  The link by which leapp finds ours, while they are installed.\n",
            "  /usr/share/livemode/leapp/aside  Where those of leapp lie meanwhile.\n"
        ),
        concat!(
            "Examples:\n",
            "  livemode-prep actors install  From now on leapp finds ours.\n",
            "  livemode-prep actors restore  And now its own again, byte for byte.\n"
        ),
        SEE_PREP!()
    ))]
    Actors {
        #[command(subcommand)]
        action: Action,
    },
    /// Show what is prepared, and how the last upgrade went
    #[command(after_long_help = help_end!(SEE_PREP!()))]
    Status(Json),
    /// Take back everything that build made; a second call is no error
    #[command(after_long_help = help_end!(SEE_PREP!()))]
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
