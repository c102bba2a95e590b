class _Tag:
    def __init__(self, name):
        self.name = name


def _phase(name):
    tag = _Tag(name)
    tag.Before, tag.After = _Tag(name + '.Before'), _Tag(name + '.After')
    return tag


FactsPhaseTag = _phase('Facts')
ChecksPhaseTag = _phase('Checks')
InterimPreparationPhaseTag = _phase('InterimPreparation')
FirstBootPhaseTag = _phase('FirstBoot')
IPUWorkflowTag = _Tag('IPUWorkflow')
ExperimentalTag = _Tag('Experimental')
