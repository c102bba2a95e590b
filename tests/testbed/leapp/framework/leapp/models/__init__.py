"""Messages with the fields that leapp-repository 0.25 gives them."""
from leapp.models import fields  # noqa: F401


class _Nullable:
    def __init__(self, kind):
        self.kind = kind


def _check(kind, value, where):
    if isinstance(kind, _Nullable):
        return None if value is None else _check(kind.kind, value, where)
    if isinstance(kind, list):
        if not isinstance(value, list):
            raise TypeError('{} is no list: {!r}'.format(where, value))
        return [_check(kind[0], item, where) for item in value]
    if issubclass(kind, Model) and isinstance(value, dict):
        value = kind(**value)
    if type(value) is not kind:
        raise TypeError('{} is no {}: {!r}'.format(where, kind.__name__, value))
    return value


def _dumped(value):
    if isinstance(value, list):
        return [_dumped(item) for item in value]
    return value.dump() if isinstance(value, Model) else value


class Model:
    """A field is required unless it has a default here, which a list's always is."""

    fields = {}

    def __init__(self, **values):
        for name in values:
            if name not in self.fields:
                raise TypeError('{} has no field {}'.format(type(self).__name__, name))
        for name, kind in self.fields.items():
            default = [] if isinstance(kind, list) else None
            value = values.get(name, default)
            setattr(self, name, _check(kind, value, '{}.{}'.format(type(self).__name__, name)))

    def dump(self):
        return {name: _dumped(getattr(self, name)) for name in self.fields}


def _model(name, /, **fields):
    return type(name, (Model,), {'fields': fields})


LiveModeConfig = _model(
    'LiveModeConfig',
    is_enabled=bool,
    squashfs_fullpath=str,
    additional_packages=[str],
    autostart_upgrade_after_reboot=bool,
    setup_network_manager=bool,
    setup_passwordless_root=bool,
    dracut_network=_Nullable(str),
    url_to_load_squashfs_from=_Nullable(str),
    setup_opensshd_with_auth_keys=_Nullable(str),
    capture_upgrade_strace_into=_Nullable(str),
)
LiveImagePreparationInfo = _model(
    'LiveImagePreparationInfo', has_network_set_up=bool, has_passwordless_root=bool, has_sshd=bool
)
LiveModeArtifacts = _model('LiveModeArtifacts', squashfs_path=str)
BootContent = _model('BootContent', kernel_path=str, initram_path=str, kernel_hmac_path=str)
TargetUserSpaceInfo = _model('TargetUserSpaceInfo', path=str, scratch=str, mounts=str)
CopyFile = _model('CopyFile', src=str, dst=_Nullable(str))
TargetUserSpaceUpgradeTasks = _model('TargetUserSpaceUpgradeTasks', install_rpms=[str], copy_files=[CopyFile])
DracutModule = _model('DracutModule', name=str, module_path=_Nullable(str))
KernelModule = _model('KernelModule', name=str, module_path=_Nullable(str))
UpgradeInitramfsTasks = _model(
    'UpgradeInitramfsTasks',
    include_dracut_modules=[DracutModule],
    include_kernel_modules=[KernelModule],
    include_files=[str],
)
KernelCmdlineArg = _model('KernelCmdlineArg', key=str, value=_Nullable(str))
KernelCmdline = _model('KernelCmdline', parameters=[KernelCmdlineArg])
UpgradeKernelCmdlineArgTasks = _model(
    'UpgradeKernelCmdlineArgTasks', to_add=[KernelCmdlineArg], to_remove=[KernelCmdlineArg]
)
LateTargetKernelCmdlineArgTasks = _model(
    'LateTargetKernelCmdlineArgTasks', to_add=[KernelCmdlineArg], to_remove=[KernelCmdlineArg]
)
FstabEntry = _model(
    'FstabEntry', fs_spec=str, fs_file=str, fs_vfstype=str, fs_mntops=str, fs_freq=str, fs_passno=str
)
StorageInfo = _model('StorageInfo', fstab=[FstabEntry])
Report = _model('Report', report=dict)
