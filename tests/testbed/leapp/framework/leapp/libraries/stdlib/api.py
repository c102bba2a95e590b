import logging

_current = []


def current_actor():
    return _current[-1]


def current_logger():
    return logging.getLogger('leapp')
