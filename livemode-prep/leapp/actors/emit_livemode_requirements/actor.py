from leapp.actors import Actor
from leapp.libraries.common import livemode_prep
from leapp.models import (
    CopyFile,
    DracutModule,
    LiveModeConfig,
    TargetUserSpaceUpgradeTasks,
    UpgradeInitramfsTasks,
)
from leapp.tags import ExperimentalTag, InterimPreparationPhaseTag, IPUWorkflowTag


class EmitLiveModeRequirements(Actor):
    """
    Asks for the packages of the live system, and for the dracut module that mounts the image.
    """

    name = 'emit_livemode_requirements'
    consumes = (LiveModeConfig,)
    produces = (TargetUserSpaceUpgradeTasks, UpgradeInitramfsTasks)
    tags = (ExperimentalTag, InterimPreparationPhaseTag, IPUWorkflowTag)

    def process(self):
        if not next(self.consume(LiveModeConfig), None):
            return
        answer = livemode_prep.call_or_stop('listing the packages', ['requirements'])
        self.produce(TargetUserSpaceUpgradeTasks(
            install_rpms=answer['packages'],
            copy_files=[
                CopyFile(src=livemode_prep.DRACUT_MODULE_DIR, dst=livemode_prep.DRACUT_MODULE_DIR_IN_TARGET),
                CopyFile(src=livemode_prep.BOOT_PROGRAM, dst=livemode_prep.BOOT_PROGRAM),
            ],
        ))
        self.produce(UpgradeInitramfsTasks(
            include_dracut_modules=[DracutModule(name=livemode_prep.DRACUT_MODULE)],
        ))
