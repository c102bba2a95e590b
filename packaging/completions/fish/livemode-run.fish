# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_livemode_run_global_optspecs
    string join \n source= cmdline= h/help V/version
end

function __fish_livemode_run_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_livemode_run_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_livemode_run_using_subcommand
    set -l cmd (__fish_livemode_run_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c livemode-run -n "__fish_livemode_run_needs_command" -l source -d 'Where the source system is mounted' -r -F
complete -c livemode-run -n "__fish_livemode_run_needs_command" -l cmdline -d 'The kernel command line to go by' -r -F
complete -c livemode-run -n "__fish_livemode_run_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c livemode-run -n "__fish_livemode_run_needs_command" -s V -l version -d 'Print version'
complete -c livemode-run -n "__fish_livemode_run_needs_command" -f -a "upgrade" -d 'Run the upgrade; by hand: start its service and follow it. Losing the terminal does not stop it'
complete -c livemode-run -n "__fish_livemode_run_needs_command" -f -a "commit" -d 'After upgrade --keep: move the upgraded system to its disks, and reboot into it'
complete -c livemode-run -n "__fish_livemode_run_needs_command" -f -a "discard" -d 'After upgrade --keep: give the upgrade up, and reboot into the old system'
complete -c livemode-run -n "__fish_livemode_run_needs_command" -f -a "plan" -d 'Show the commands that upgrade would run'
complete -c livemode-run -n "__fish_livemode_run_needs_command" -f -a "status" -d 'Show where the upgrade stands'
complete -c livemode-run -n "__fish_livemode_run_needs_command" -f -a "wanted" -d 'Exit with 0 when the upgrade is to start: by the boot line, or because an admin asked for it'
complete -c livemode-run -n "__fish_livemode_run_needs_command" -f -a "console" -d 'Copy the upgrade\'s output to the consoles'
complete -c livemode-run -n "__fish_livemode_run_needs_command" -f -a "journal" -d 'Copy the journal to the source system\'s disk'
complete -c livemode-run -n "__fish_livemode_run_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c livemode-run -n "__fish_livemode_run_using_subcommand upgrade" -l source -d 'Where the source system is mounted' -r -F
complete -c livemode-run -n "__fish_livemode_run_using_subcommand upgrade" -l cmdline -d 'The kernel command line to go by' -r -F
complete -c livemode-run -n "__fish_livemode_run_using_subcommand upgrade" -l keep -d 'All or nothing only: stop before anything reaches the disks, for you to look around in the source system'
complete -c livemode-run -n "__fish_livemode_run_using_subcommand upgrade" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c livemode-run -n "__fish_livemode_run_using_subcommand commit" -l source -d 'Where the source system is mounted' -r -F
complete -c livemode-run -n "__fish_livemode_run_using_subcommand commit" -l cmdline -d 'The kernel command line to go by' -r -F
complete -c livemode-run -n "__fish_livemode_run_using_subcommand commit" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c livemode-run -n "__fish_livemode_run_using_subcommand discard" -l source -d 'Where the source system is mounted' -r -F
complete -c livemode-run -n "__fish_livemode_run_using_subcommand discard" -l cmdline -d 'The kernel command line to go by' -r -F
complete -c livemode-run -n "__fish_livemode_run_using_subcommand discard" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c livemode-run -n "__fish_livemode_run_using_subcommand plan" -l source -d 'Where the source system is mounted' -r -F
complete -c livemode-run -n "__fish_livemode_run_using_subcommand plan" -l cmdline -d 'The kernel command line to go by' -r -F
complete -c livemode-run -n "__fish_livemode_run_using_subcommand plan" -l json -d 'Print JSON'
complete -c livemode-run -n "__fish_livemode_run_using_subcommand plan" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c livemode-run -n "__fish_livemode_run_using_subcommand status" -l source -d 'Where the source system is mounted' -r -F
complete -c livemode-run -n "__fish_livemode_run_using_subcommand status" -l cmdline -d 'The kernel command line to go by' -r -F
complete -c livemode-run -n "__fish_livemode_run_using_subcommand status" -l json -d 'Print JSON'
complete -c livemode-run -n "__fish_livemode_run_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c livemode-run -n "__fish_livemode_run_using_subcommand wanted" -l source -d 'Where the source system is mounted' -r -F
complete -c livemode-run -n "__fish_livemode_run_using_subcommand wanted" -l cmdline -d 'The kernel command line to go by' -r -F
complete -c livemode-run -n "__fish_livemode_run_using_subcommand wanted" -s h -l help -d 'Print help'
complete -c livemode-run -n "__fish_livemode_run_using_subcommand console" -l source -d 'Where the source system is mounted' -r -F
complete -c livemode-run -n "__fish_livemode_run_using_subcommand console" -l cmdline -d 'The kernel command line to go by' -r -F
complete -c livemode-run -n "__fish_livemode_run_using_subcommand console" -s h -l help -d 'Print help'
complete -c livemode-run -n "__fish_livemode_run_using_subcommand journal" -l source -d 'Where the source system is mounted' -r -F
complete -c livemode-run -n "__fish_livemode_run_using_subcommand journal" -l cmdline -d 'The kernel command line to go by' -r -F
complete -c livemode-run -n "__fish_livemode_run_using_subcommand journal" -s h -l help -d 'Print help'
complete -c livemode-run -n "__fish_livemode_run_using_subcommand help; and not __fish_seen_subcommand_from upgrade commit discard plan status wanted console journal help" -f -a "upgrade" -d 'Run the upgrade; by hand: start its service and follow it. Losing the terminal does not stop it'
complete -c livemode-run -n "__fish_livemode_run_using_subcommand help; and not __fish_seen_subcommand_from upgrade commit discard plan status wanted console journal help" -f -a "commit" -d 'After upgrade --keep: move the upgraded system to its disks, and reboot into it'
complete -c livemode-run -n "__fish_livemode_run_using_subcommand help; and not __fish_seen_subcommand_from upgrade commit discard plan status wanted console journal help" -f -a "discard" -d 'After upgrade --keep: give the upgrade up, and reboot into the old system'
complete -c livemode-run -n "__fish_livemode_run_using_subcommand help; and not __fish_seen_subcommand_from upgrade commit discard plan status wanted console journal help" -f -a "plan" -d 'Show the commands that upgrade would run'
complete -c livemode-run -n "__fish_livemode_run_using_subcommand help; and not __fish_seen_subcommand_from upgrade commit discard plan status wanted console journal help" -f -a "status" -d 'Show where the upgrade stands'
complete -c livemode-run -n "__fish_livemode_run_using_subcommand help; and not __fish_seen_subcommand_from upgrade commit discard plan status wanted console journal help" -f -a "wanted" -d 'Exit with 0 when the upgrade is to start: by the boot line, or because an admin asked for it'
complete -c livemode-run -n "__fish_livemode_run_using_subcommand help; and not __fish_seen_subcommand_from upgrade commit discard plan status wanted console journal help" -f -a "console" -d 'Copy the upgrade\'s output to the consoles'
complete -c livemode-run -n "__fish_livemode_run_using_subcommand help; and not __fish_seen_subcommand_from upgrade commit discard plan status wanted console journal help" -f -a "journal" -d 'Copy the journal to the source system\'s disk'
complete -c livemode-run -n "__fish_livemode_run_using_subcommand help; and not __fish_seen_subcommand_from upgrade commit discard plan status wanted console journal help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
