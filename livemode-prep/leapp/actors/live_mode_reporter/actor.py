from leapp import reporting
from leapp.actors import Actor
from leapp.libraries.common import livemode_prep
from leapp.models import KernelCmdline, LiveModeConfig, StorageInfo
from leapp.reporting import Report
from leapp.tags import ChecksPhaseTag, ExperimentalTag, IPUWorkflowTag

TITLES = {
    livemode_prep.INVALID_CONFIGURATION: 'The configuration of LiveMode is invalid',
    livemode_prep.PRECONDITION_NOT_MET: 'LiveMode cannot upgrade this system as it is',
}
# By these others know the reports, whatever their titles say (LEAPP_DEVEL_FIXED_REPORT_KEY).
KEY_OF_INHIBITOR = '8f6e3f2b0c5d4a51b7e9a1c46d2f7e30a95c1b68'
KEY_OF_PLAN = '3b1d9c74e8a24f06926c5f07d8b3e1a2c4f6907d'


class LiveModeReporter(Actor):
    """
    Reports what LiveMode will do, or inhibits the upgrade with what stands against it.
    """

    name = 'live_mode_reporter'
    consumes = (LiveModeConfig, StorageInfo, KernelCmdline)
    produces = (Report,)
    tags = (ExperimentalTag, ChecksPhaseTag, IPUWorkflowTag)

    def process(self):
        if not livemode_prep.is_opted_in():
            return
        messages = [next(self.consume(model), None) for model in (StorageInfo, KernelCmdline)]
        try:
            answer = livemode_prep.call(['check'], livemode_prep.facts(*messages))
        except livemode_prep.Failed as error:
            reporting.create_report([
                reporting.Title(TITLES.get(error.exit_code, 'LiveMode could not check this system')),
                reporting.Key(KEY_OF_INHIBITOR),
                reporting.Summary(error.why),
                reporting.Severity(reporting.Severity.HIGH),
                reporting.Groups([reporting.Groups.INHIBITOR, reporting.Groups.BOOT]),
                reporting.Remediation(
                    hint='Mend what the summary names, check with: livemode-prep check, and run leapp again.'
                ),
            ])
            return
        reporting.create_report([
            reporting.Title('The upgrade will run from a live image'),
            reporting.Key(KEY_OF_PLAN),
            reporting.Summary('\n'.join(
                ['The image will be {}. Space:'.format(answer['image'])]
                + ['- ' + line for line in answer['expectations']]
                + ['Warning: ' + line for line in answer['warnings']]
            )),
            reporting.Severity(reporting.Severity.INFO),
            reporting.Groups([reporting.Groups.BOOT]),
        ])
