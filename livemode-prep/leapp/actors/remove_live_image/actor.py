from leapp.actors import Actor
from leapp.libraries.common import livemode_prep
from leapp.libraries.stdlib import api
from leapp.models import LiveModeArtifacts
from leapp.tags import ExperimentalTag, FirstBootPhaseTag, IPUWorkflowTag


class RemoveLiveImage(Actor):
    """
    Takes back what the build made, once the upgraded system has booted.
    """

    name = 'remove_live_image'
    consumes = (LiveModeArtifacts,)
    produces = ()
    tags = (ExperimentalTag, FirstBootPhaseTag, IPUWorkflowTag)

    def process(self):
        if not next(self.consume(LiveModeArtifacts), None):
            return
        try:
            livemode_prep.execute(['remove'])
        except livemode_prep.Failed as error:
            # The system is upgraded: nothing of this may stop its first boot.
            api.current_logger().error('LiveMode left files behind: %s', error.why)
