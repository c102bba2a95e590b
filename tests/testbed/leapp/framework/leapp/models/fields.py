"""The types of a configuration's values."""


class JSON:
    """Anything that JSON can hold."""

    nullable = False

    def accepts(self, value):
        return self.nullable if value is None else isinstance(value, (bool, int, float, str, list, dict))


def Nullable(field):
    field.nullable = True
    return field
