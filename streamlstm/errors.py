"""Every exception that streamlstm raises on purpose. Catch `StreamLSTMError` for all of them."""


class StreamLSTMError(Exception):
    """Base of all errors of this package."""


class ParameterError(StreamLSTMError, ValueError):
    """A model was built, or a method called, with an argument outside its range."""


class InputError(StreamLSTMError, ValueError):
    """A tick, feature or array cannot be used as it is; the model has not changed."""


class DataError(StreamLSTMError, ValueError):
    """A file or stream holds something that cannot be read; says where."""


class SnapshotError(StreamLSTMError, ValueError):
    """A snapshot cannot be written, or not be used; says why and what to do."""


class DamagedSnapshotError(SnapshotError):
    """A file is no snapshot, or not the whole of one, as it was written."""


class MissingPackageError(StreamLSTMError, ImportError):
    """A library that is not installed is needed for this; names the `pip install`."""


class DeviceError(StreamLSTMError, RuntimeError):
    """A GPU is needed for this, and none can be used here."""
