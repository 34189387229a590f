"""The errors that a person may see. Each message is one line: the place, what was expected, what came, what to do."""


class SaccadeError(Exception):
    """Something could not be done; the message is one line that says what, why and what to do."""


class UsageError(SaccadeError):
    """The request itself is wrong (a layer that does not exist, an option out of range): exit code 2."""


class PhotoError(SaccadeError):
    """One photo could not be read. In a run it becomes a row with its error, and the others go on."""


class SourceError(SaccadeError):
    """Where photos come from went away and did not come back: a run ends, to be resumed when it is there again."""
