import shlex

from leapp.actors import Actor
from leapp.libraries.common import livemode_prep
from leapp.models import (
    BootContent,
    KernelCmdline,
    KernelCmdlineArg,
    LiveImagePreparationInfo,
    LiveModeArtifacts,
    LiveModeConfig,
    StorageInfo,
    TargetUserSpaceInfo,
    UpgradeInitramfsTasks,
    UpgradeKernelCmdlineArgTasks,
)
from leapp.tags import ExperimentalTag, InterimPreparationPhaseTag, IPUWorkflowTag


class LiveImageGenerator(Actor):
    """
    Builds the image from the target container and leapp's own kernel and initramfs.

    The kernel arguments that leapp can carry go with the entry from its first moment on; complete_livemode_entry sets
    the others.
    """

    name = 'live_image_generator'
    consumes = (
        BootContent,
        KernelCmdline,
        LiveImagePreparationInfo,
        LiveModeConfig,
        StorageInfo,
        TargetUserSpaceInfo,
        UpgradeInitramfsTasks,
    )
    produces = (LiveModeArtifacts, UpgradeKernelCmdlineArgTasks)
    tags = (ExperimentalTag, InterimPreparationPhaseTag, IPUWorkflowTag)

    def process(self):
        if not next(self.consume(LiveModeConfig), None) or not next(self.consume(LiveImagePreparationInfo), None):
            return
        messages = livemode_prep.build_facts(self)
        manifest = livemode_prep.call_or_stop('building the image', ['build', '--boot-entry', 'leapp'], messages)
        words = [word.partition('=') for word in shlex.split(manifest['boot']['arguments'])]
        keys = [key for key, _, _ in words]
        self.produce(UpgradeKernelCmdlineArgTasks(to_add=[
            KernelCmdlineArg(key=key, value=value if equals else None)
            for key, equals, value in words
            if keys.count(key) == 1
        ]))
        self.produce(LiveModeArtifacts(squashfs_path=manifest['image']['path']))
