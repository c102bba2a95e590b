from leapp.actors import Actor
from leapp.libraries.common import livemode_prep
from leapp.libraries.stdlib import api
from leapp.models import (
    LateTargetKernelCmdlineArgTasks,
    LiveModeArtifacts,
    LiveModeConfig,
    UpgradeKernelCmdlineArgTasks,
)
from leapp.tags import InterimPreparationPhaseTag, IPUWorkflowTag

BOTH = 'both'


class CompleteLiveModeEntry(Actor):
    """
    Gives the boot entry of the build what leapp's messages add, takes away what they remove, reads it back, and lets it boot.

    Without LiveModeConfig there is nothing to do. Where leapp finds its own livemode actors as well, it is not known whose image
    this is: it is said, and nothing is done.
    """

    name = 'complete_livemode_entry'
    consumes = (LateTargetKernelCmdlineArgTasks, LiveModeArtifacts, LiveModeConfig, UpgradeKernelCmdlineArgTasks)
    produces = ()
    tags = (InterimPreparationPhaseTag.After, IPUWorkflowTag)

    def process(self):
        if not next(self.consume(LiveModeConfig), None) or not next(self.consume(LiveModeArtifacts), None):
            return
        if livemode_prep.call_or_stop('looking at the actors', ['actors', 'status'])['found'] == BOTH:
            api.current_logger().error(
                'LiveMode did nothing to the boot entry: leapp finds its own livemode actors as well, and which of two have run '
                'is not known; run: livemode-prep actors refresh, then leapp again'
            )
            return
        messages = livemode_prep.facts(
            LateTargetKernelCmdlineArgTasks=list(self.consume(LateTargetKernelCmdlineArgTasks)),
            UpgradeKernelCmdlineArgTasks=list(self.consume(UpgradeKernelCmdlineArgTasks)),
        )
        livemode_prep.call_or_stop('completing the boot entry', ['entry'], messages)
