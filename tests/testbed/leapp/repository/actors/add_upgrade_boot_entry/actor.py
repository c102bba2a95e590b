import os

from leapp.actors import Actor
from leapp.libraries.stdlib import run
from leapp.models import (
    BootContent,
    LateTargetKernelCmdlineArgTasks,
    LiveImagePreparationInfo,
    LiveModeArtifacts,
    LiveModeConfig,
    UpgradeKernelCmdlineArgTasks,
)
from leapp.tags import InterimPreparationPhaseTag, IPUWorkflowTag


class AddUpgradeBootEntry(Actor):
    """
    Makes the entry as leapp's own actor does: one value for a key, and the default one at once.
    """

    name = 'add_upgrade_boot_entry'
    consumes = (BootContent, LiveImagePreparationInfo, LiveModeArtifacts, LiveModeConfig, UpgradeKernelCmdlineArgTasks)
    produces = (LateTargetKernelCmdlineArgTasks,)
    tags = (InterimPreparationPhaseTag, IPUWorkflowTag)

    def process(self):
        boot = next(self.consume(BootContent))
        arguments = {'enforcing': '0', 'rd.plymouth': '0', 'plymouth.enable': '0'}
        if next(self.consume(LiveImagePreparationInfo), None):
            image = next(self.consume(LiveModeArtifacts)).squashfs_path
            arguments.update({'root': 'live:UUID=0', 'rd.live.dir': os.path.dirname(image), 'rw': None})
        for tasks in self.consume(UpgradeKernelCmdlineArgTasks):
            arguments.update((word.key, word.value) for word in tasks.to_add)
        root = arguments.pop('root', None)
        grubby = ['chroot', os.environ['SOURCE'], 'grubby']
        line = ' '.join(
            key if value is None else '{}="{}"'.format(key, value) if ' ' in value else '{}={}'.format(key, value)
            for key, value in arguments.items()
        )
        run(grubby + ['--add-kernel', boot.kernel_path, '--initrd', boot.initram_path, '--title', 'Upgrade',
                      '--copy-default', '--make-default', '--args', line])
        if root:
            run(grubby + ['--update-kernel', boot.kernel_path, '--args', 'root=' + root])
        run(grubby + ['--update-kernel', boot.kernel_path, '--remove-args', 'ro rhgb quiet'])
