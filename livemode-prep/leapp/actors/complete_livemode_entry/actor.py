from leapp.actors import Actor
from leapp.libraries.common import livemode_prep
from leapp.models import LiveModeArtifacts, LiveModeConfig, UpgradeKernelCmdlineArgTasks
from leapp.tags import InterimPreparationPhaseTag, IPUWorkflowTag


class CompleteLiveModeEntry(Actor):
    """
    Gives the boot entry that leapp has made what leapp cannot carry, reads it back, and lets it boot.

    Without LiveModeConfig there is nothing to do.
    """

    name = 'complete_livemode_entry'
    consumes = (LiveModeArtifacts, LiveModeConfig, UpgradeKernelCmdlineArgTasks)
    produces = ()
    tags = (InterimPreparationPhaseTag.After, IPUWorkflowTag)

    def process(self):
        if not next(self.consume(LiveModeConfig), None) or not next(self.consume(LiveModeArtifacts), None):
            return
        messages = livemode_prep.facts(UpgradeKernelCmdlineArgTasks=list(self.consume(UpgradeKernelCmdlineArgTasks)))
        livemode_prep.call_or_stop('completing the boot entry', ['entry'], messages)
