"""The errors that are meant for the user.

    LongthreadError                 printed without a traceback, exit code 2
    ├── ConfigError                 a pipeline file or a setting: where, what, the remedy
    ├── DocumentError               a file that cannot be read as a document
    ├── StoreError                  an index that is missing, locked, damaged, or of another embedder or chunker
    ├── ModelError                  a model file, a context, or a request that the model cannot hold
    ├── WindowError                 a prompt that does not fit its window
    ├── DataError                   a line or a file of questions
    ├── RunError                    a batch that cannot begin, or cannot go on
    └── MissingExtraError           an optional library that is not installed, with its install line

Any other exception is a bug, and keeps its traceback. Each error takes one message, so that it survives pickling out of
a worker.
"""


class LongthreadError(Exception):
    """The root: `str(error)` names the place, the fault, and the nearest remedy."""

    def __init__(self, message: str) -> None:
        super().__init__(message)


class ConfigError(LongthreadError):
    """A pipeline file or a setting is wrong. The message has one line per fault."""


class SettingError(ValueError):
    """A setting has an invalid value.

    :param field: the setting's name; the message follows it.

    Code that reads settings from a file or command converts this to a ConfigError with the place.
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
    """A batch cannot start or continue: finished samples are safe, and the message has the remedy."""


class MissingExtraError(LongthreadError):
    """An optional library is not installed: the message has the install line."""
