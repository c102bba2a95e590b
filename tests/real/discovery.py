#!/usr/bin/env python3
"""What the real framework makes of a machine: discovery.py ROOT [--livemode]. As JSON: the actors and where they lie, in
the order in which they run; what it says of the configuration; without the flag none of the experimental actors."""
import json
import logging
import os
import sys
import tempfile

sys.dont_write_bytecode = True
LEAPP = os.environ['LIVEMODE_LEAPP']
sys.path.insert(0, os.path.join(LEAPP, 'framework'))


class Heard(logging.Handler):
    """What is said at warning level or above."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.said = []

    def emit(self, record):
        self.said.append(record.getMessage())


def main():
    root, livemode = os.path.realpath(sys.argv[1]), '--livemode' in sys.argv
    scratch = tempfile.TemporaryDirectory(prefix='livemode-leapp-')
    config = os.path.join(scratch.name, 'leapp.conf')
    with open(config, 'w') as file:
        file.write('[repositories]\nrepo_path={0}/etc/leapp/repos.d/\n[database]\npath={1}/leapp.db\n'
                   '[actor_config]\npath={0}/etc/leapp/actor_conf.d/\n'.format(root, scratch.name))
    os.environ.update(LEAPP_CONFIG=config, LEAPP_HOSTNAME='machine', LEAPP_EXECUTION_ID='test', LEAPP_DEVEL_DATABASE_SYNC_OFF='1')
    heard = Heard()
    logging.getLogger().addHandler(heard)

    from leapp.cli.commands import command_utils
    from leapp.cli.commands.upgrade import util
    from leapp.config import get_config
    from leapp.exceptions import CommandError
    from leapp.tags import ExperimentalTag
    from leapp.utils.audit import Execution

    Execution(context='test', kind='upgrade', configuration={}).store()
    repositories = util.load_repositories()
    workflow = repositories.lookup_workflow('IPUWorkflow')()
    answer = {'config': 'loaded', 'flag': 'known', 'said': heard.said}
    try:
        command_utils.load_actor_configs_and_store_it_in_db('test', repositories, get_config())
    except Exception as error:
        answer['config'] = '{}: {}'.format(type(error).__name__, error)
    names = util.EXPERIMENTAL_FEATURES['livemode'] if livemode else []
    try:
        util.process_whitelist_experimental(repositories, workflow, {'whitelist_experimental': names})
    except CommandError as error:
        answer['flag'] = error.message
    answer['order'] = [
        [phase.name, stage.stage, actor.name, os.path.relpath(actor.full_path, root)]
        for phase, *stages in workflow.phase_actors
        for stage in stages
        for actor in stage.actors
        if ExperimentalTag not in actor.tags or actor in workflow.experimental_whitelist
    ]
    print(json.dumps(answer))


main()
