from leapp.actors.config import Config
from leapp.models import fields


def key(module, class_name, name, default):
    """A class of a module, for a key that livemode.yaml(5) describes."""
    return type(Config)(class_name, (Config,), {
        '__module__': module,
        'section': 'livemode',
        'name': name,
        'type_': fields.Nullable(fields.JSON()),
        'default': default,
        'description': 'See livemode.yaml(5).',
    })
