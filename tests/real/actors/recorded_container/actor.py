import json

from leapp.actors import Actor
from leapp.models import TargetUserSpaceInfo
from leapp.tags import IPUWorkflowTag, TargetTransactionFactsPhaseTag


class RecordedContainer(Actor):
    """
    Names the container, which is there already.
    """

    name = 'recorded_container'
    consumes = ()
    produces = (TargetUserSpaceInfo,)
    tags = (IPUWorkflowTag, TargetTransactionFactsPhaseTag)

    def process(self):
        with open('/etc/leapp/recorded.json') as file:
            for name, fields in json.load(file):
                if name == 'TargetUserSpaceInfo':
                    self.produce(TargetUserSpaceInfo.create(fields))
