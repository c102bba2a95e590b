class StopActorExecutionError(Exception):
    """Ends the actor and the workflow."""

    def __init__(self, message, details=None):
        super().__init__(message)
        self.message = message
        self.details = details or {}
