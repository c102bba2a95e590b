import hashlib

from leapp.libraries.stdlib import api
from leapp.models import Report  # noqa: F401


class _Part:
    name = None

    def __init__(self, value):
        self.value = value

    def apply(self, report):
        if self.name in report:
            raise ValueError('{} stands twice'.format(self.name))
        report[self.name] = self.value


class Title(_Part):
    name = 'title'


class Summary(_Part):
    name = 'summary'


class Key(_Part):
    name = 'key'


class Severity(_Part):
    name = 'severity'
    HIGH, MEDIUM, LOW, INFO = 'high', 'medium', 'low', 'info'


class Groups(_Part):
    name = 'groups'
    INHIBITOR, BOOT = 'inhibitor', 'boot'


class Remediation:
    def __init__(self, hint):
        self.hint = hint

    def apply(self, report):
        detail = report.setdefault('detail', {})
        detail.setdefault('remediations', []).append({'type': 'hint', 'context': self.hint})


def create_report(parts):
    report = {}
    for part in parts:
        if isinstance(part, (Title, Summary, Key)) and not isinstance(part.value, str):
            raise TypeError('{} is no text: {!r}'.format(part.name, part.value))
        part.apply(report)
    for name in ('title', 'summary'):
        if not report.get(name):
            raise ValueError('a report has no ' + name)
    report.setdefault('severity', Severity.INFO)
    report['audience'] = 'sysadmin'
    if Groups.INHIBITOR in report.get('groups', []):
        report['flags'] = [Groups.INHIBITOR]
    # One that changes with the title is nothing that others could know it by.
    by_title = '{severity}:{audience}:{title}'.format(**report)
    report.setdefault('key', hashlib.sha1(by_title.encode('utf-8')).hexdigest())
    api.current_actor().produce(Report(report=report))
