"""The errors that are for the user.

    LongthreadError                 printed without a traceback, exit code 2
    ├── ConfigError                 a pipeline file or a setting: where, what, the way out
    ├── DocumentError               a file that cannot be read as a document
    ├── StoreError                  an index that is missing, locked, damaged, or of another embedder or chunker
    ├── ModelError                  a model file, a context, or a request that the model cannot hold
    ├── WindowError                 a prompt that does not fit its window
    ├── DataError                   a line or a file of questions
    ├── RunError                    a batch that cannot begin, or cannot go on
    └── MissingExtraError           an optional library that is not installed, with its install line

Anything else is a bug, and keeps its traceback. Each takes one message, so that it survives pickling out of a worker.
"""


class LongthreadError(Exception):
    """The root: `str(error)` says where, what, and the nearest way out."""

    def __init__(self, message: str) -> None:
        super().__init__(message)


class ConfigError(LongthreadError):
    """A pipeline file or a setting is wrong. The message may hold several lines, one a fault."""


class SettingError(ValueError):
    """A setting has a value that its component cannot work with.

    :param field: the setting's name; the message goes on after it.

    Whoever read the setting from a file or a command turns it into a ConfigError with the place.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(field, message)
        self.field = field
        self.message = message

    def __str__(self) -> str:
        return f"{self.field} {self.message}"


class DocumentError(LongthreadError):
    """A file cannot be read as a document."""


class StoreError(LongthreadError):
    """An index is missing, locked by another writer, damaged, or was made by another embedder or chunker."""


class ModelError(LongthreadError):
    """A model file, a context, or a request that the model cannot hold."""


class WindowError(LongthreadError):
    """A prompt does not fit its window: the message has the numbers."""


class DataError(LongthreadError):
    """A line or a file of questions cannot be read."""


class RunError(LongthreadError):
    """A batch cannot begin or cannot go on: what was finished is kept, and the message says what to do."""


class MissingExtraError(LongthreadError):
    """An optional library is not installed: the message has the install line."""
