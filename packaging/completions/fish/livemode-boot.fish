# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_livemode_boot_global_optspecs
    string join \n h/help V/version
end

function __fish_livemode_boot_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_livemode_boot_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_livemode_boot_using_subcommand
    set -l cmd (__fish_livemode_boot_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c livemode-boot -n "__fish_livemode_boot_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c livemode-boot -n "__fish_livemode_boot_needs_command" -s V -l version -d 'Print version'
complete -c livemode-boot -n "__fish_livemode_boot_needs_command" -f -a "mount" -d 'Wait for the image\'s device, check the image and mount it as root; what the dracut hook calls. When that fails: say why, count down, and take the way back that rd.emergency= asks for'
complete -c livemode-boot -n "__fish_livemode_boot_needs_command" -f -a "plan" -d 'Show what would be waited for, checked and mounted; touches nothing'
complete -c livemode-boot -n "__fish_livemode_boot_needs_command" -f -a "settled" -d 'Exit with 0 when the image\'s device is there or its deadline has passed; for dracut\'s initqueue'
complete -c livemode-boot -n "__fish_livemode_boot_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c livemode-boot -n "__fish_livemode_boot_using_subcommand mount" -l sysroot -d 'Where the root file system is to be mounted' -r -F
complete -c livemode-boot -n "__fish_livemode_boot_using_subcommand mount" -l cmdline -d 'The kernel command line to go by' -r -F
complete -c livemode-boot -n "__fish_livemode_boot_using_subcommand mount" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c livemode-boot -n "__fish_livemode_boot_using_subcommand plan" -l cmdline -d 'The kernel command line to go by' -r -F
complete -c livemode-boot -n "__fish_livemode_boot_using_subcommand plan" -l json -d 'Print JSON'
complete -c livemode-boot -n "__fish_livemode_boot_using_subcommand plan" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c livemode-boot -n "__fish_livemode_boot_using_subcommand settled" -l conditions -d 'The queue\'s conditions; past the deadline they are removed' -r -F
complete -c livemode-boot -n "__fish_livemode_boot_using_subcommand settled" -l cmdline -d 'The kernel command line to go by' -r -F
complete -c livemode-boot -n "__fish_livemode_boot_using_subcommand settled" -s h -l help -d 'Print help'
complete -c livemode-boot -n "__fish_livemode_boot_using_subcommand help; and not __fish_seen_subcommand_from mount plan settled help" -f -a "mount" -d 'Wait for the image\'s device, check the image and mount it as root; what the dracut hook calls. When that fails: say why, count down, and take the way back that rd.emergency= asks for'
complete -c livemode-boot -n "__fish_livemode_boot_using_subcommand help; and not __fish_seen_subcommand_from mount plan settled help" -f -a "plan" -d 'Show what would be waited for, checked and mounted; touches nothing'
complete -c livemode-boot -n "__fish_livemode_boot_using_subcommand help; and not __fish_seen_subcommand_from mount plan settled help" -f -a "settled" -d 'Exit with 0 when the image\'s device is there or its deadline has passed; for dracut\'s initqueue'
complete -c livemode-boot -n "__fish_livemode_boot_using_subcommand help; and not __fish_seen_subcommand_from mount plan settled help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
