"""
The section livemode, for leapp's framework: without this it warns of an unknown section.

This module and its classes have the names that leapp's own have, and so have no more keys than those: should both be in
leapp's sight, the first that is loaded is the class of both actors, and no key has two. Values are not judged here, for the
framework ends leapp with a traceback on the first that is wrong; livemode-prep names every fault with its file and line.
"""
from leapp.configs.actor.livemode_key import key

AdditionalPackages = key(__name__, 'AdditionalPackages', 'additional_packages', [])
AutostartUpgradeAfterReboot = key(__name__, 'AutostartUpgradeAfterReboot', 'autostart_upgrade_after_reboot', True)
CaptureSTraceInfoInto = key(__name__, 'CaptureSTraceInfoInto', 'capture_strace_info_into', '')
DracutNetwork = key(__name__, 'DracutNetwork', 'dracut_network', '')
SetupNetworkManager = key(__name__, 'SetupNetworkManager', 'setup_network_manager', False)
SetupOpenSSHDUsingAuthKeys = key(__name__, 'SetupOpenSSHDUsingAuthKeys', 'setup_opensshd_using_auth_keys', '')
SetupPasswordlessRoot = key(__name__, 'SetupPasswordlessRoot', 'setup_passwordless_root', False)
SquashfsImagePath = key(__name__, 'SquashfsImagePath', 'squashfs_image_path', '/var/lib/leapp/live-upgrade.img')
URLToLoadSquashfsImageFrom = key(__name__, 'URLToLoadSquashfsImageFrom', 'url_to_load_squashfs_image_from', '')

livemode_cfg_fields = (
    AdditionalPackages,
    AutostartUpgradeAfterReboot,
    CaptureSTraceInfoInto,
    DracutNetwork,
    SetupNetworkManager,
    SetupOpenSSHDUsingAuthKeys,
    SetupPasswordlessRoot,
    SquashfsImagePath,
    URLToLoadSquashfsImageFrom,
)
