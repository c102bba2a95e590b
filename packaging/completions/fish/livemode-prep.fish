# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_livemode_prep_global_optspecs
    string join \n root= config-dir= leapp-facts= h/help V/version
end

function __fish_livemode_prep_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_livemode_prep_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_livemode_prep_using_subcommand
    set -l cmd (__fish_livemode_prep_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c livemode-prep -n "__fish_livemode_prep_needs_command" -l root -d 'The source system' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_needs_command" -l config-dir -d 'Where the *.yaml files are [default: /etc/leapp/actor_conf.d below the root]' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_needs_command" -l leapp-facts -d 'Facts from leapp (its messages by the name of their model, as JSON) in place of those gathered here' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c livemode-prep -n "__fish_livemode_prep_needs_command" -s V -l version -d 'Print version'
complete -c livemode-prep -n "__fish_livemode_prep_needs_command" -f -a "config" -d 'Load, check and print the configuration'
complete -c livemode-prep -n "__fish_livemode_prep_needs_command" -f -a "requirements" -d 'Print the packages that the target container must have'
complete -c livemode-prep -n "__fish_livemode_prep_needs_command" -f -a "check" -d 'Show what stands against an upgrade on this machine, before there is a container; writes nothing'
complete -c livemode-prep -n "__fish_livemode_prep_needs_command" -f -a "plan" -d 'Show whether the upgrade may go on, and what build would do; writes nothing'
complete -c livemode-prep -n "__fish_livemode_prep_needs_command" -f -a "explain" -d 'Show why something is in the plan as it is, or is not: from which fact, by which rule; writes nothing'
complete -c livemode-prep -n "__fish_livemode_prep_needs_command" -f -a "build" -d 'Build the image, the initramfs and the boot entry; on any error the system stays as it was'
complete -c livemode-prep -n "__fish_livemode_prep_needs_command" -f -a "entry" -d 'Under leapp, once it has made its own boot entry: put what leapp\'s messages add on ours, and let ours boot once'
complete -c livemode-prep -n "__fish_livemode_prep_needs_command" -f -a "arm" -d 'Let the upgrade\'s entry boot once, and show what boots next and after that'
complete -c livemode-prep -n "__fish_livemode_prep_needs_command" -f -a "retry" -d 'Try an upgrade again that was given up, where neither this system nor the image has changed since'
complete -c livemode-prep -n "__fish_livemode_prep_needs_command" -f -a "disarm" -d 'Let the old system boot; what is built stays. A second call is no error'
complete -c livemode-prep -n "__fish_livemode_prep_needs_command" -f -a "actors" -d 'Put our actors in the place of those that leapp brings, and back'
complete -c livemode-prep -n "__fish_livemode_prep_needs_command" -f -a "status" -d 'Show what is prepared, and how the last upgrade went'
complete -c livemode-prep -n "__fish_livemode_prep_needs_command" -f -a "remove" -d 'Take back everything that build made; a second call is no error'
complete -c livemode-prep -n "__fish_livemode_prep_needs_command" -f -a "facts" -d 'Print all that a plan is made from, for plan --facts; passwords in it are masked'
complete -c livemode-prep -n "__fish_livemode_prep_needs_command" -f -a "sweep" -d 'Once standard input ends, when the transaction does that started it: settle what it has left half-done'
complete -c livemode-prep -n "__fish_livemode_prep_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand config" -l root -d 'The source system' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand config" -l config-dir -d 'Where the *.yaml files are [default: /etc/leapp/actor_conf.d below the root]' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand config" -l leapp-facts -d 'Facts from leapp (its messages by the name of their model, as JSON) in place of those gathered here' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand config" -l json -d 'Print JSON'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand config" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand requirements" -l root -d 'The source system' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand requirements" -l config-dir -d 'Where the *.yaml files are [default: /etc/leapp/actor_conf.d below the root]' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand requirements" -l leapp-facts -d 'Facts from leapp (its messages by the name of their model, as JSON) in place of those gathered here' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand requirements" -l json -d 'Print JSON'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand requirements" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand check" -l root -d 'The source system' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand check" -l config-dir -d 'Where the *.yaml files are [default: /etc/leapp/actor_conf.d below the root]' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand check" -l leapp-facts -d 'Facts from leapp (its messages by the name of their model, as JSON) in place of those gathered here' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand check" -l json -d 'Print JSON'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand plan" -l userspace -d 'The target-system container, such as /var/lib/leapp/el9userspace [default: the one in leapp\'s facts]' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand plan" -l boot-entry -d 'Who keeps the boot entry; remove takes it back [default: the loader that boots, if it is one of these, else none]' -r -f -a "none\t'Nobody: the kernel arguments are printed and left to you'
grub\t'GRUB: an entry of our own boots once, then the old system again'
systemd-boot\t'systemd-boot: the same, on its own partition'
leapp\t'The same under leapp, which makes an entry of its own after build; entry then arms ours'"
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand plan" -l facts -d 'Plan from facts of another machine, in place of this one\'s' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand plan" -l root -d 'The source system' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand plan" -l config-dir -d 'Where the *.yaml files are [default: /etc/leapp/actor_conf.d below the root]' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand plan" -l leapp-facts -d 'Facts from leapp (its messages by the name of their model, as JSON) in place of those gathered here' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand plan" -l accept-loop-risk -d 'Arm the entry though GRUB cannot clear it: a machine that fails before early boot boots it again and again'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand plan" -l json -d 'Print JSON'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand plan" -l all -d 'Show every file, link and service of the live system as well'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand plan" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand explain" -l userspace -d 'The target-system container; without it, what can be said before there is one' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand explain" -l facts -d 'Facts of another machine, as livemode-prep facts wrote them, in place of this one\'s' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand explain" -l root -d 'The source system' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand explain" -l config-dir -d 'Where the *.yaml files are [default: /etc/leapp/actor_conf.d below the root]' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand explain" -l leapp-facts -d 'Facts from leapp (its messages by the name of their model, as JSON) in place of those gathered here' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand explain" -l json -d 'Print JSON'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand explain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand build" -l userspace -d 'The target-system container, such as /var/lib/leapp/el9userspace [default: the one in leapp\'s facts]' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand build" -l boot-entry -d 'Who keeps the boot entry; remove takes it back [default: the loader that boots, if it is one of these, else none]' -r -f -a "none\t'Nobody: the kernel arguments are printed and left to you'
grub\t'GRUB: an entry of our own boots once, then the old system again'
systemd-boot\t'systemd-boot: the same, on its own partition'
leapp\t'The same under leapp, which makes an entry of its own after build; entry then arms ours'"
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand build" -l root -d 'The source system' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand build" -l config-dir -d 'Where the *.yaml files are [default: /etc/leapp/actor_conf.d below the root]' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand build" -l leapp-facts -d 'Facts from leapp (its messages by the name of their model, as JSON) in place of those gathered here' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand build" -l accept-loop-risk -d 'Arm the entry though GRUB cannot clear it: a machine that fails before early boot boots it again and again'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand build" -l json -d 'Print JSON'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand build" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand entry" -l root -d 'The source system' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand entry" -l config-dir -d 'Where the *.yaml files are [default: /etc/leapp/actor_conf.d below the root]' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand entry" -l leapp-facts -d 'Facts from leapp (its messages by the name of their model, as JSON) in place of those gathered here' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand entry" -l json -d 'Print JSON'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand entry" -l accept-loop-risk -d 'Arm the entry though GRUB cannot clear it: a machine that fails before early boot boots it again and again'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand entry" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand arm" -l root -d 'The source system' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand arm" -l config-dir -d 'Where the *.yaml files are [default: /etc/leapp/actor_conf.d below the root]' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand arm" -l leapp-facts -d 'Facts from leapp (its messages by the name of their model, as JSON) in place of those gathered here' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand arm" -l json -d 'Print JSON'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand arm" -l accept-loop-risk -d 'Arm the entry though GRUB cannot clear it: a machine that fails before early boot boots it again and again'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand arm" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand retry" -l root -d 'The source system' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand retry" -l config-dir -d 'Where the *.yaml files are [default: /etc/leapp/actor_conf.d below the root]' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand retry" -l leapp-facts -d 'Facts from leapp (its messages by the name of their model, as JSON) in place of those gathered here' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand retry" -l json -d 'Print JSON'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand retry" -l accept-loop-risk -d 'Arm the entry though GRUB cannot clear it: a machine that fails before early boot boots it again and again'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand retry" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand disarm" -l root -d 'The source system' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand disarm" -l config-dir -d 'Where the *.yaml files are [default: /etc/leapp/actor_conf.d below the root]' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand disarm" -l leapp-facts -d 'Facts from leapp (its messages by the name of their model, as JSON) in place of those gathered here' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand disarm" -l json -d 'Print JSON'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand disarm" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand actors; and not __fish_seen_subcommand_from install restore refresh status help" -l root -d 'The source system' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand actors; and not __fish_seen_subcommand_from install restore refresh status help" -l config-dir -d 'Where the *.yaml files are [default: /etc/leapp/actor_conf.d below the root]' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand actors; and not __fish_seen_subcommand_from install restore refresh status help" -l leapp-facts -d 'Facts from leapp (its messages by the name of their model, as JSON) in place of those gathered here' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand actors; and not __fish_seen_subcommand_from install restore refresh status help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand actors; and not __fish_seen_subcommand_from install restore refresh status help" -f -a "install" -d 'Let leapp find our actors; its own are put aside'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand actors; and not __fish_seen_subcommand_from install restore refresh status help" -f -a "restore" -d 'Put leapp\'s own back as they were, and ours out of its sight'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand actors; and not __fish_seen_subcommand_from install restore refresh status help" -f -a "refresh" -d 'After an update of leapp: put aside what it has brought back, where ours are installed'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand actors; and not __fish_seen_subcommand_from install restore refresh status help" -f -a "status" -d 'Show whose actors leapp finds'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand actors; and not __fish_seen_subcommand_from install restore refresh status help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand actors; and __fish_seen_subcommand_from install" -l root -d 'The source system' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand actors; and __fish_seen_subcommand_from install" -l config-dir -d 'Where the *.yaml files are [default: /etc/leapp/actor_conf.d below the root]' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand actors; and __fish_seen_subcommand_from install" -l leapp-facts -d 'Facts from leapp (its messages by the name of their model, as JSON) in place of those gathered here' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand actors; and __fish_seen_subcommand_from install" -s h -l help -d 'Print help'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand actors; and __fish_seen_subcommand_from restore" -l root -d 'The source system' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand actors; and __fish_seen_subcommand_from restore" -l config-dir -d 'Where the *.yaml files are [default: /etc/leapp/actor_conf.d below the root]' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand actors; and __fish_seen_subcommand_from restore" -l leapp-facts -d 'Facts from leapp (its messages by the name of their model, as JSON) in place of those gathered here' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand actors; and __fish_seen_subcommand_from restore" -s h -l help -d 'Print help'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand actors; and __fish_seen_subcommand_from refresh" -l root -d 'The source system' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand actors; and __fish_seen_subcommand_from refresh" -l config-dir -d 'Where the *.yaml files are [default: /etc/leapp/actor_conf.d below the root]' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand actors; and __fish_seen_subcommand_from refresh" -l leapp-facts -d 'Facts from leapp (its messages by the name of their model, as JSON) in place of those gathered here' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand actors; and __fish_seen_subcommand_from refresh" -s h -l help -d 'Print help'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand actors; and __fish_seen_subcommand_from status" -l root -d 'The source system' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand actors; and __fish_seen_subcommand_from status" -l config-dir -d 'Where the *.yaml files are [default: /etc/leapp/actor_conf.d below the root]' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand actors; and __fish_seen_subcommand_from status" -l leapp-facts -d 'Facts from leapp (its messages by the name of their model, as JSON) in place of those gathered here' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand actors; and __fish_seen_subcommand_from status" -l json -d 'Print JSON'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand actors; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand actors; and __fish_seen_subcommand_from help" -f -a "install" -d 'Let leapp find our actors; its own are put aside'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand actors; and __fish_seen_subcommand_from help" -f -a "restore" -d 'Put leapp\'s own back as they were, and ours out of its sight'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand actors; and __fish_seen_subcommand_from help" -f -a "refresh" -d 'After an update of leapp: put aside what it has brought back, where ours are installed'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand actors; and __fish_seen_subcommand_from help" -f -a "status" -d 'Show whose actors leapp finds'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand actors; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand status" -l root -d 'The source system' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand status" -l config-dir -d 'Where the *.yaml files are [default: /etc/leapp/actor_conf.d below the root]' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand status" -l leapp-facts -d 'Facts from leapp (its messages by the name of their model, as JSON) in place of those gathered here' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand status" -l json -d 'Print JSON'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand remove" -l root -d 'The source system' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand remove" -l config-dir -d 'Where the *.yaml files are [default: /etc/leapp/actor_conf.d below the root]' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand remove" -l leapp-facts -d 'Facts from leapp (its messages by the name of their model, as JSON) in place of those gathered here' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand remove" -l after-success -d 'Only if the upgrade has succeeded, and neither leapp nor somebody\'s own boot entry still needs it; else do nothing'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand facts" -l userspace -d 'The target-system container, such as /var/lib/leapp/el9userspace [default: the one in leapp\'s facts]' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand facts" -l boot-entry -d 'Who keeps the boot entry; remove takes it back [default: the loader that boots, if it is one of these, else none]' -r -f -a "none\t'Nobody: the kernel arguments are printed and left to you'
grub\t'GRUB: an entry of our own boots once, then the old system again'
systemd-boot\t'systemd-boot: the same, on its own partition'
leapp\t'The same under leapp, which makes an entry of its own after build; entry then arms ours'"
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand facts" -l root -d 'The source system' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand facts" -l config-dir -d 'Where the *.yaml files are [default: /etc/leapp/actor_conf.d below the root]' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand facts" -l leapp-facts -d 'Facts from leapp (its messages by the name of their model, as JSON) in place of those gathered here' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand facts" -l accept-loop-risk -d 'Arm the entry though GRUB cannot clear it: a machine that fails before early boot boots it again and again'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand facts" -l json -d 'Print JSON'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand facts" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand sweep" -l root -d 'The source system' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand sweep" -l config-dir -d 'Where the *.yaml files are [default: /etc/leapp/actor_conf.d below the root]' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand sweep" -l leapp-facts -d 'Facts from leapp (its messages by the name of their model, as JSON) in place of those gathered here' -r -F
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand sweep" -s h -l help -d 'Print help'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand help; and not __fish_seen_subcommand_from config requirements check plan explain build entry arm retry disarm actors status remove facts sweep help" -f -a "config" -d 'Load, check and print the configuration'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand help; and not __fish_seen_subcommand_from config requirements check plan explain build entry arm retry disarm actors status remove facts sweep help" -f -a "requirements" -d 'Print the packages that the target container must have'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand help; and not __fish_seen_subcommand_from config requirements check plan explain build entry arm retry disarm actors status remove facts sweep help" -f -a "check" -d 'Show what stands against an upgrade on this machine, before there is a container; writes nothing'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand help; and not __fish_seen_subcommand_from config requirements check plan explain build entry arm retry disarm actors status remove facts sweep help" -f -a "plan" -d 'Show whether the upgrade may go on, and what build would do; writes nothing'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand help; and not __fish_seen_subcommand_from config requirements check plan explain build entry arm retry disarm actors status remove facts sweep help" -f -a "explain" -d 'Show why something is in the plan as it is, or is not: from which fact, by which rule; writes nothing'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand help; and not __fish_seen_subcommand_from config requirements check plan explain build entry arm retry disarm actors status remove facts sweep help" -f -a "build" -d 'Build the image, the initramfs and the boot entry; on any error the system stays as it was'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand help; and not __fish_seen_subcommand_from config requirements check plan explain build entry arm retry disarm actors status remove facts sweep help" -f -a "entry" -d 'Under leapp, once it has made its own boot entry: put what leapp\'s messages add on ours, and let ours boot once'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand help; and not __fish_seen_subcommand_from config requirements check plan explain build entry arm retry disarm actors status remove facts sweep help" -f -a "arm" -d 'Let the upgrade\'s entry boot once, and show what boots next and after that'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand help; and not __fish_seen_subcommand_from config requirements check plan explain build entry arm retry disarm actors status remove facts sweep help" -f -a "retry" -d 'Try an upgrade again that was given up, where neither this system nor the image has changed since'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand help; and not __fish_seen_subcommand_from config requirements check plan explain build entry arm retry disarm actors status remove facts sweep help" -f -a "disarm" -d 'Let the old system boot; what is built stays. A second call is no error'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand help; and not __fish_seen_subcommand_from config requirements check plan explain build entry arm retry disarm actors status remove facts sweep help" -f -a "actors" -d 'Put our actors in the place of those that leapp brings, and back'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand help; and not __fish_seen_subcommand_from config requirements check plan explain build entry arm retry disarm actors status remove facts sweep help" -f -a "status" -d 'Show what is prepared, and how the last upgrade went'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand help; and not __fish_seen_subcommand_from config requirements check plan explain build entry arm retry disarm actors status remove facts sweep help" -f -a "remove" -d 'Take back everything that build made; a second call is no error'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand help; and not __fish_seen_subcommand_from config requirements check plan explain build entry arm retry disarm actors status remove facts sweep help" -f -a "facts" -d 'Print all that a plan is made from, for plan --facts; passwords in it are masked'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand help; and not __fish_seen_subcommand_from config requirements check plan explain build entry arm retry disarm actors status remove facts sweep help" -f -a "sweep" -d 'Once standard input ends, when the transaction does that started it: settle what it has left half-done'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand help; and not __fish_seen_subcommand_from config requirements check plan explain build entry arm retry disarm actors status remove facts sweep help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand help; and __fish_seen_subcommand_from actors" -f -a "install" -d 'Let leapp find our actors; its own are put aside'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand help; and __fish_seen_subcommand_from actors" -f -a "restore" -d 'Put leapp\'s own back as they were, and ours out of its sight'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand help; and __fish_seen_subcommand_from actors" -f -a "refresh" -d 'After an update of leapp: put aside what it has brought back, where ours are installed'
complete -c livemode-prep -n "__fish_livemode_prep_using_subcommand help; and __fish_seen_subcommand_from actors" -f -a "status" -d 'Show whose actors leapp finds'
