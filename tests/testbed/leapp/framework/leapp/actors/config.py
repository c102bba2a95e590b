"""What the framework asks of an actor's configuration, before any actor runs: a class for each key of a section, and one
alone for a key of several actors."""
import abc


class Config(abc.ABC):
    section = name = type_ = description = default = None


class SchemaError(Exception):
    pass


class ValidationError(Exception):
    pass


def normalize(schemas):
    """The classes by section and key."""
    known = {}
    for field in schemas:
        section = known.setdefault(field.section, {})
        if section.setdefault(field.name, field) is not field:
            raise SchemaError('two classes for {}.{}'.format(field.section, field.name))
    return known


def check(config, known):
    """The warnings for a configuration; wrong values are an error."""
    for section, fields in known.items():
        for name, field in fields.items():
            # As the framework does it: a section that is there and empty ends it.
            values = config.get(section, {})
            value = values[name] if name in values else field.default
            if not field.type_.accepts(value):
                raise ValidationError('{}.{} is not of the correct type'.format(section, name))
    return ['A config file contained an unknown section: ' + section for section in config if section not in known]
