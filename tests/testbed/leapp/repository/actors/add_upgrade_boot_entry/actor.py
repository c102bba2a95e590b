import os

from leapp.actors import Actor
from leapp.libraries.stdlib import run
from leapp.models import (
    BootContent,
    KernelCmdline,
    KernelCmdlineArg,
    LateTargetKernelCmdlineArgTasks,
    LiveImagePreparationInfo,
    LiveModeArtifacts,
    LiveModeConfig,
    UpgradeKernelCmdlineArgTasks,
)
from leapp.tags import InterimPreparationPhaseTag, IPUWorkflowTag


class AddUpgradeBootEntry(Actor):
    """
    Makes the entry as leapp's own actor does: one value for a key, what is to be removed last, and the default one at once.
    """

    name = 'add_upgrade_boot_entry'
    consumes = (
        BootContent,
        KernelCmdline,
        LiveImagePreparationInfo,
        LiveModeArtifacts,
        LiveModeConfig,
        UpgradeKernelCmdlineArgTasks,
    )
    produces = (LateTargetKernelCmdlineArgTasks,)
    tags = (InterimPreparationPhaseTag, IPUWorkflowTag)

    def process(self):
        boot = next(self.consume(BootContent))
        arguments = {'enforcing': '0', 'rd.plymouth': '0', 'plymouth.enable': '0'}
        if os.environ.get('LEAPP_DEBUG') == '1':
            arguments['debug'] = None
        if os.environ.get('LEAPP_DEVEL_INITRAM_NETWORK') == 'scripts':
            arguments.update({'ip': 'dhcp', 'rd.neednet': '1'})
        removed = set()
        is_live = next(self.consume(LiveImagePreparationInfo), None) is not None
        if is_live:
            image = next(self.consume(LiveModeArtifacts)).squashfs_path
            arguments.update({'root': 'live:UUID=0', 'rd.live.dir': os.path.dirname(image), 'rw': None})
            removed.update([('ro', None), ('rhgb', None), ('quiet', None)])
        for tasks in self.consume(UpgradeKernelCmdlineArgTasks):
            arguments.update((word.key, word.value) for word in tasks.to_add)
            removed.update((word.key, word.value) for word in tasks.to_remove)
        grubby = ['chroot', os.environ['SOURCE'], '/usr/sbin/grubby']
        run(grubby + ['--add-kernel', boot.kernel_path, '--initrd', boot.initram_path, '--title', 'RHEL-Upgrade-Initramfs',
                      '--copy-default', '--make-default', '--args', words(arguments.items())])
        if arguments.get('root'):
            run(grubby + ['--update-kernel', boot.kernel_path, '--args', 'root=' + arguments['root']])
        if removed:
            run(grubby + ['--update-kernel', boot.kernel_path, '--remove-args', words(removed)])
        # So leapp tells what the upgraded system's entry must not inherit.
        known = {(word.key, word.value) for line in self.consume(KernelCmdline) for word in line.parameters}
        late = set(arguments.items()) - removed - known
        self.produce(LateTargetKernelCmdlineArgTasks(
            to_remove=[KernelCmdlineArg(key=key, value=value) for key, value in sorted(late, key=lambda word: word[0])],
        ))


def words(arguments):
    """As leapp writes them: without quotes."""
    return ' '.join(sorted(key if not value else '{}={}'.format(key, value) for key, value in arguments))
