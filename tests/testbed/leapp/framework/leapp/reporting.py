from leapp.libraries.stdlib import api
from leapp.models import Report  # noqa: F401


class _Part:
    name = None

    def __init__(self, value):
        self.value = value


class Title(_Part):
    name = 'title'


class Summary(_Part):
    name = 'summary'


class Severity(_Part):
    name = 'severity'
    HIGH, MEDIUM, LOW, INFO = 'high', 'medium', 'low', 'info'


class Groups(_Part):
    name = 'groups'
    INHIBITOR, BOOT = 'inhibitor', 'boot'


class Remediation(_Part):
    name = 'remediation'

    def __init__(self, hint):
        super().__init__(hint)


def create_report(parts):
    api.current_actor().produce(Report(**{part.name: part.value for part in parts}))
