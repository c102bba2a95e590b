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


def call(arguments, messages=None):
    """The JSON that livemode-prep prints, or CalledProcessError."""
    with tempfile.NamedTemporaryFile('w', prefix='livemode-facts-', suffix='.json') as file:
        json.dump(messages or {}, file)
        file.flush()
        # A file, never standard input: run() waits for ever when there is much of it.
        result = run(['livemode-prep', '--leapp-facts', file.name] + arguments + ['--json'])
    return json.loads(result['stdout'])


def call_or_stop(what, arguments, messages=None):
    """The same, and leapp stops where it fails: half of LiveMode would boot into nothing."""
    try:
        return call(arguments, messages)
    except CalledProcessError as error:
        raise StopActorExecutionError(
            'LiveMode: {} failed'.format(what),
            details={'details': error.stderr.strip(), 'command': 'livemode-prep ' + ' '.join(arguments)},
        )
