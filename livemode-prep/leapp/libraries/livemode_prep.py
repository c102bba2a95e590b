"""Calls livemode-prep: messages go in as a file, its answer comes back as JSON. Nothing is decided here."""
import json
import os
import tempfile

from leapp.exceptions import StopActorExecutionError
from leapp.libraries.stdlib import CalledProcessError, run
from leapp.models import BootContent, KernelCmdline, StorageInfo, TargetUserSpaceInfo, UpgradeInitramfsTasks

# As livemode-prep exits: the configuration is invalid; a precondition is not met.
INVALID_CONFIGURATION = 3
PRECONDITION_NOT_MET = 4

# Where the package has them, and where the module's script looks for the program in the target.
DRACUT_MODULE = 'livemode'
DRACUT_MODULE_DIR = '/usr/share/livemode/dracut/90livemode'
DRACUT_MODULE_DIR_IN_TARGET = '/usr/lib/dracut/modules.d/90livemode'
BOOT_PROGRAM = '/usr/libexec/livemode/livemode-boot'


class Failed(Exception):
    """livemode-prep has failed, or could not be called: why, as one text, and its exit code where it had one."""

    def __init__(self, why, exit_code=None):
        super(Failed, self).__init__(why)
        self.why = why
        self.exit_code = exit_code


def is_opted_in():
    """Whether the admin accepts what is unsupported, as leapp asks for it."""
    return os.environ.get('LEAPP_UNSUPPORTED') == '1'


def facts(*messages, **lists):
    """Messages by the name of their model; of a model that many actors produce, all of them as MODEL=[...]."""
    by_name = {type(message).__name__: message.dump() for message in messages if message}
    by_name.update({name: [message.dump() for message in several] for name, several in lists.items()})
    return by_name


def build_facts(actor):
    """What plan and build are to know; the actor consumes them all."""
    models = (BootContent, KernelCmdline, StorageInfo, TargetUserSpaceInfo)
    messages = [next(actor.consume(model), None) for model in models]
    return facts(*messages, UpgradeInitramfsTasks=list(actor.consume(UpgradeInitramfsTasks)))


def execute(arguments):
    """What livemode-prep prints, or Failed."""
    try:
        return run(['livemode-prep'] + arguments)['stdout']
    except CalledProcessError as error:
        why = (error.stderr or '').strip() or 'livemode-prep ended with {}'.format(error.exit_code)
        raise Failed(why, error.exit_code)
    except OSError as error:
        # run() looks for the program itself: it is missing, or may not be executed.
        raise Failed('livemode-prep cannot be started: {}; install the package livemode'.format(error))


def call(arguments, messages=None):
    """The JSON that livemode-prep prints, or Failed."""
    try:
        with tempfile.NamedTemporaryFile('w', prefix='livemode-facts-', suffix='.json') as file:
            json.dump(messages or {}, file)
            file.flush()
            # A file, never standard input: run() waits for ever when there is much of it.
            text = execute(['--leapp-facts', file.name] + arguments + ['--json'])
    except OSError as error:
        raise Failed('writing facts for livemode-prep: {}'.format(error))
    try:
        return json.loads(text)
    except ValueError as error:
        raise Failed('livemode-prep {} printed no JSON: {}'.format(' '.join(arguments), error))


def call_or_stop(what, arguments, messages=None):
    """The same, and leapp stops where it fails: half of LiveMode would boot into nothing."""
    try:
        return call(arguments, messages)
    except Failed as error:
        raise StopActorExecutionError(
            'LiveMode: {} failed'.format(what),
            details={'details': error.why, 'command': 'livemode-prep ' + ' '.join(arguments)},
        )
