class Actor:
    """What an actor sees of the framework: messages of the models that it names."""

    consumes, produces, tags, config_schemas = (), (), (), ()

    def __init__(self, messages):
        self._messages = messages

    def consume(self, model):
        if model not in self.consumes:
            raise TypeError('{} consumes no {}'.format(self.name, model.__name__))
        for message in list(self._messages):
            if type(message) is model:
                yield message

    def produce(self, message):
        if type(message) not in self.produces:
            raise TypeError('{} produces no {}'.format(self.name, type(message).__name__))
        self._messages.append(message)
