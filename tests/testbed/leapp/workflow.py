#!/usr/bin/env python3
"""Runs phases of the upgrade with the actors of some repositories, as leapp does: workflow.py [--livemode] [--only=ACTOR]
MESSAGES PHASE REPOSITORY... MESSAGES is a file with [[MODEL, FIELDS], ...] that is read and written; what each actor adds is
printed as JSON. With --livemode the experimental actors run too."""
import importlib.util
import json
import logging
import os
import sys
import traceback

sys.dont_write_bytecode = True
here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, 'framework'))

import leapp.configs.actor  # noqa: E402
from leapp import models  # noqa: E402
from leapp.actors import Actor, config  # noqa: E402
from leapp.exceptions import StopActorExecutionError  # noqa: E402
from leapp.libraries import common  # noqa: E402
from leapp.libraries.stdlib import api  # noqa: E402

logging.basicConfig(stream=sys.stderr, format='%(levelname)s %(message)s', level=logging.INFO)


def load(repositories):
    """Every actor by its name; two of one name are an error, for which of them counts leapp does not say."""
    actors = {}
    for repository in repositories:
        common.__path__.append(os.path.join(repository, 'libraries'))
    for repository in repositories:
        for directory, _, files in sorted(os.walk(os.path.join(repository, 'actors'))):
            if 'actor.py' not in files:
                continue
            leapp.configs.actor.__path__.append(os.path.join(directory, 'configs'))
            spec = importlib.util.spec_from_file_location(os.path.basename(directory), os.path.join(directory, 'actor.py'))
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            for found in vars(module).values():
                if isinstance(found, type) and issubclass(found, Actor) and found is not Actor:
                    if found.name in actors:
                        raise SystemExit('two actors are named ' + found.name)
                    actors[found.name] = found
    return actors


def in_order(actors):
    """Who produces a message comes before who consumes it."""
    left, ordered = sorted(actors, key=lambda actor: actor.name), []
    while left:
        produced = {actor: {model for other in left if other is not actor for model in other.produces} for actor in left}
        ready = [actor for actor in left if not produced[actor] & set(actor.consumes)]
        if not ready:
            raise SystemExit('a cycle: ' + ', '.join(actor.name for actor in left))
        ordered.append(ready[0])
        left.remove(ready[0])
    return ordered


def sections(directory):
    """The sections of the configuration, and whether they hold something: whatever that is, livemode-prep judges it."""
    found = {}
    for name in sorted(os.listdir(directory)):
        with open(os.path.join(directory, name)) as file:
            for line in file:
                key, colon, rest = line.partition(':')
                if colon and key.isidentifier():
                    found[key] = {}
    return found


def main():
    arguments = [argument for argument in sys.argv[1:] if not argument.startswith('--')]
    livemode = '--livemode' in sys.argv
    only = [argument.partition('=')[2] for argument in sys.argv if argument.startswith('--only=')]
    path, phase, *repositories = arguments
    with open(path) as file:
        messages = [getattr(models, name)(**fields) for name, fields in json.load(file)]
    actors, added = load(repositories).values(), {}
    known = config.normalize(field for actor in actors for field in actor.config_schemas)
    for warning in config.check(sections(os.path.join(os.environ['SOURCE'], 'etc/leapp/actor_conf.d')), known):
        logging.warning(warning)
    for moment in (phase + '.Before', phase, phase + '.After'):
        tagged = [actor for actor in actors if moment in [tag.name for tag in actor.tags]]
        tagged = [actor for actor in tagged if livemode or 'Experimental' not in [tag.name for tag in actor.tags]]
        for kind in in_order(tagged):
            if only and kind.name not in only:
                continue
            before, actor = len(messages), kind(messages)
            api._current.append(actor)
            try:
                actor.process()
            except StopActorExecutionError as error:
                print(json.dumps({'stopped': kind.name, 'message': error.message, 'details': error.details}))
                raise SystemExit(1)
            except Exception:
                print(json.dumps({'crashed': kind.name, 'trace': traceback.format_exc()}))
                raise SystemExit(1)
            added[kind.name] = [[type(message).__name__, message.dump()] for message in messages[before:]]
    with open(path, 'w') as file:
        json.dump([[type(message).__name__, message.dump()] for message in messages], file)
    print(json.dumps(added))


main()
