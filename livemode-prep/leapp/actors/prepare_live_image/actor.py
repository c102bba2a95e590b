from leapp.actors import Actor
from leapp.libraries.common import livemode_prep
from leapp.models import (
    BootContent,
    KernelCmdline,
    LiveImagePreparationInfo,
    LiveModeConfig,
    StorageInfo,
    TargetUserSpaceInfo,
    UpgradeInitramfsTasks,
)
from leapp.tags import ExperimentalTag, InterimPreparationPhaseTag, IPUWorkflowTag


class PrepareLiveImage(Actor):
    """
    Makes sure, with the container there, that the build will be possible. Where it is not, leapp must stop: without this
    message it would make a classic boot entry for a live initramfs.
    """

    name = 'prepare_live_image'
    consumes = (BootContent, KernelCmdline, LiveModeConfig, StorageInfo, TargetUserSpaceInfo, UpgradeInitramfsTasks)
    produces = (LiveImagePreparationInfo,)
    tags = (ExperimentalTag, InterimPreparationPhaseTag, IPUWorkflowTag)

    def process(self):
        config = next(self.consume(LiveModeConfig), None)
        if not config:
            return
        messages = livemode_prep.build_facts(self)
        livemode_prep.call_or_stop('planning the image', ['plan', '--boot-entry', 'leapp'], messages)
        self.produce(LiveImagePreparationInfo(
            has_network_set_up=config.setup_network_manager,
            has_passwordless_root=config.setup_passwordless_root,
            has_sshd=bool(config.setup_opensshd_with_auth_keys),
        ))
