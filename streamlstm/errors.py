"""Every exception that streamlstm raises on purpose. Catch `StreamLSTMError` for all of them."""


class StreamLSTMError(Exception):
    """Base of all errors of this package."""


class ParameterError(StreamLSTMError, ValueError):
    """An argument of a model or method is outside its range."""


class InputError(StreamLSTMError, ValueError):
    """A tick, feature or array cannot be used. The model has not changed."""


class DataError(StreamLSTMError, ValueError):
    """A file or stream holds something that cannot be read. The message says where."""


class SnapshotError(StreamLSTMError, ValueError):
    """A snapshot cannot be written or used. The message says why and what to do."""


class DamagedSnapshotError(SnapshotError):
    """A file is not a snapshot, or it was cut off or changed after it was written."""


class MissingPackageError(StreamLSTMError, ImportError):
    """A library is missing. The message names the `pip install` that adds it."""


class DeviceError(StreamLSTMError, RuntimeError):
    """This needs a GPU, and none can be used here."""
