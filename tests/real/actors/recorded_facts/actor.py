import json

from leapp.actors import Actor
from leapp import models
from leapp.models import FirmwareFacts, KernelCmdline, StorageInfo
from leapp.tags import FactsPhaseTag, IPUWorkflowTag


class RecordedFacts(Actor):
    """
    Says what leapp's scanners say on RHEL, from a file.
    """

    name = 'recorded_facts'
    consumes = ()
    produces = (FirmwareFacts, KernelCmdline, StorageInfo)
    tags = (FactsPhaseTag.Before, IPUWorkflowTag)

    def process(self):
        with open('/etc/leapp/recorded.json') as file:
            for name, fields in json.load(file):
                if name in [model.__name__ for model in self.produces]:
                    self.produce(getattr(models, name).create(fields))
