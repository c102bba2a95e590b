from leapp.actors import Actor
from leapp.exceptions import StopActorExecutionError
from leapp.libraries.stdlib import CalledProcessError, run
from leapp.tags import IPUWorkflowTag, RPMUpgradePhaseTag

RELEASE = 'file:///srv/repositories/2'


class DnfTransaction(Actor):
    """
    Upgrades the packages of the testbed, in the place of leapp's own transaction.
    """

    name = 'dnf_transaction'
    consumes = ()
    produces = ()
    tags = (IPUWorkflowTag, RPMUpgradePhaseTag)

    def process(self):
        try:
            run(['dnf', '-y', '--disablerepo=*', '--repofrompath=next,' + RELEASE, '--setopt=next.gpgcheck=0', 'upgrade'])
        except CalledProcessError as error:
            raise StopActorExecutionError('the transaction failed', details={'details': error.stderr})
