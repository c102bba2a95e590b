#!/usr/bin/env python3
"""Runs a phase with the real framework, its models and its tags: phase.py [--livemode] [--only=ACTOR] MESSAGES PHASE
REPOSITORY... is to the real one what tests/testbed/leapp/workflow.py is to the stand-in: the same arguments, the same
answer."""
import json
import logging
import os
import sys
import tempfile

sys.dont_write_bytecode = True
LEAPP = os.environ['LIVEMODE_LEAPP']
sys.path.insert(0, os.path.join(LEAPP, 'framework'))
logging.basicConfig(stream=sys.stderr, format='%(levelname)s %(message)s', level=logging.INFO)

PHASES = {'Facts': 'FactsCollection'}


def repository(directory, under, name):
    """What makes a repository of a directory with actors."""
    directory, path = os.path.realpath(directory), os.path.join(under, name)
    os.makedirs(os.path.join(path, '.leapp'))
    with open(os.path.join(path, '.leapp', 'info'), 'w') as file:
        json.dump({'name': name, 'id': name, 'repos': []}, file)
    for part in ('actors', 'libraries'):
        if os.path.isdir(os.path.join(directory, part)):
            os.symlink(os.path.join(directory, part), os.path.join(path, part))
    return path


def message(entry):
    """A message as the stand-in shows it: the report is an object there."""
    data = json.loads(entry['message']['data'])
    if entry['type'] == 'Report':
        data['report'] = json.loads(data['report'])
    return [entry['type'], data]


def main():
    # With LEAPP_DEBUG the framework shows what programs print.
    answer = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)
    livemode = '--livemode' in sys.argv
    only = [argument.partition('=')[2] for argument in sys.argv if argument.startswith('--only=')]
    path, phase, *directories = [argument for argument in sys.argv[1:] if not argument.startswith('--')]
    scratch = tempfile.TemporaryDirectory(prefix='livemode-leapp-')
    config = os.path.join(scratch.name, 'leapp.conf')
    with open(config, 'w') as file:
        file.write('[repositories]\nrepo_path={0}\n[database]\npath={0}/leapp.db\n[actor_config]\npath={1}\n'.format(
            scratch.name, os.path.join(os.environ['SOURCE'], 'etc/leapp/actor_conf.d')))
    os.environ.update(LEAPP_CONFIG=config, LEAPP_HOSTNAME='machine', LEAPP_EXECUTION_ID='test', LEAPP_DEVEL_DATABASE_SYNC_OFF='1')

    from leapp.messaging.inprocess import InProcessMessaging
    from leapp.repository.manager import RepositoryManager
    from leapp.repository.scan import scan_repo
    from leapp.tags import ExperimentalTag
    from leapp import models
    from leapp.cli.commands import command_utils
    from leapp.cli.commands.upgrade.util import EXPERIMENTAL_FEATURES
    from leapp.config import get_config
    from leapp.utils.audit import Execution

    manager = RepositoryManager()
    for name in ('topics', 'bare'):
        manager.add_repo(scan_repo(os.path.join(LEAPP, name)))
    for number, directory in enumerate(directories):
        manager.add_repo(scan_repo(repository(directory, scratch.name, 'repository-{}'.format(number))))
    manager.load()
    Execution(context='test', kind='upgrade', configuration={}).store()
    command_utils.load_actor_configs_and_store_it_in_db('test', manager, get_config())
    workflow = manager.lookup_workflow('IPUWorkflow')()
    whitelist = EXPERIMENTAL_FEATURES['livemode'] if livemode else []

    with open(path) as file:
        known = json.load(file)
    added, wanted = {}, PHASES.get(phase, phase)
    stages, = [stages for current, *stages in workflow.phase_actors if current.name == wanted]
    os.environ['LEAPP_CURRENT_PHASE'] = wanted
    for actor in [actor for stage in stages for actor in stage.actors]:
        if ExperimentalTag in actor.tags and actor.name not in whitelist:
            continue
        if only and actor.name not in only:
            continue
        messaging = InProcessMessaging()
        consumed = [model.__name__ for model in actor.consumes]
        for name, fields in known:
            if name in consumed:
                messaging.feed(getattr(models, name).create(fields), 'recorded')
        os.environ['LEAPP_CURRENT_ACTOR'] = actor.name
        try:
            actor(logger=logging.getLogger('leapp'), messaging=messaging).run()
        except Exception as error:  # what ends the whole workflow
            print(json.dumps({'crashed': actor.name, 'trace': getattr(error, 'exception_info', str(error))}), file=answer, flush=True)
            raise SystemExit(1)
        if messaging.errors():
            error = json.loads(messaging.errors()[0]['message']['data'])
            details = json.loads(error['details'] or '{}')
            print(json.dumps({'stopped': actor.name, 'message': error['message'], 'details': details}), file=answer, flush=True)
            raise SystemExit(1)
        added[actor.name] = [message(entry) for entry in messaging.messages()]
        known += [[entry['type'], json.loads(entry['message']['data'])] for entry in messaging.messages()]
    with open(path, 'w') as file:
        json.dump(known, file)
    print(json.dumps(added), file=answer)
    answer.close()


main()
