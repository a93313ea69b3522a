"""The one place that decides how kernels are compiled, and says so when they are.

Measured reasons for the flags are in docs/decisions.md.
"""

import hashlib
import sys
import time
from collections.abc import Callable
from functools import update_wrapper
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar

import numba
from numba.core import event
from numba.extending import overload, register_jitable

F = TypeVar("F", bound=Callable[..., Any])

# "reassoc" lets a dot product use vector lanes; nnan and ninf stay off so that isnan works.
ELEMENTWISE = {"contract", "arcp", "nsz"}
REDUCTION = ELEMENTWISE | {"reassoc"}
_PART: Any = {
    "fastmath": False,  # they would inherit that of the kernel that they are compiled into
    "error_model": "numpy",
    "nogil": True,
    "_nrt": False,  # no array here has an owner to count
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}


def _sources_hash() -> str:
    """Hash of every file that kernels are compiled from."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


_SOURCES = _sources_hash()


class _Notice(event.Listener):
    """Tells a person who waits for a compiler what for, and in the end for how long."""

    def __init__(self) -> None:
        self._depth = 0
        self._start = 0.0

    def on_start(self, event: Any) -> None:
        """Speak up when a kernel of ours is compiled, not for the parts that it is made of."""
        self._depth += 1
        function = event.data["dispatcher"].py_func
        if self._depth == 1:
            self._start = time.perf_counter()
            self._ours = function.__module__.startswith("streamlstm.")
            if self._ours:
                name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
                print(f"streamlstm: compiling {name} ...", end="", file=sys.stderr, flush=True)

    def on_end(self, event: Any) -> None:
        """Say how long it took."""
        self._depth -= 1
        if self._depth == 0 and self._ours:
            print(f" {time.perf_counter() - self._start:.1f} s", file=sys.stderr, flush=True)


event.register("numba:compile", _Notice())


def _compile(
    function: F, fastmath: set[str] | bool, forceinline: bool = True, parallel: bool = False
) -> F:
    options: Any = {
        "error_model": "numpy",
        "nogil": True,
        "fastmath": fastmath,
        "forceinline": forceinline,
        "parallel": parallel,
        "_nrt": parallel,
    }
    dispatcher: Any = numba.njit(**options)(function)
    try:
        dispatcher.enable_caching()
    except RuntimeError:  # a read-only install without a writable home
        return dispatcher
    # Numba stamps a cached kernel with its own file only; a kernel that calls another file's
    # would survive a change there, so every stamp covers all kernel files.
    cache = dispatcher._cache
    cache._cache_file._source_stamp = (cache._cache_file._source_stamp, _SOURCES)
    # It tells kernels apart by what they refer to, where a kernel has another name in each process.
    identity = _identity(function), parallel
    cache._index_key = lambda sig, codegen: (sig, codegen.magic_tuple(), identity)
    return dispatcher


def _identity(value: Any) -> Any:
    """What tells a value that a kernel refers to from others, in any process."""
    function = getattr(value, "py_func", value)
    if not isinstance(function, FunctionType):
        return repr(value)
    cells = tuple(_identity(cell.cell_contents) for cell in function.__closure__ or ())
    return function.__module__, function.__qualname__, cells


def jit(function: F) -> F:
    """Compile a kernel: no GIL, no Python objects, division by zero gives inf, cached on disk.

    Called from another kernel it is compiled into it: handing over ten arrays takes longer than
    some of them work.
    """
    return _compile(function, ELEMENTWISE)


def jit_apart(function: F) -> F:
    """Compile a kernel that works so long that it need not be compiled into its callers."""
    return _compile(function, ELEMENTWISE, forceinline=False)


def jit_parallel(function: F) -> F:
    """Compile a kernel whose `prange` goes over threads. One call at a time: see `rounds`."""
    return _compile(function, ELEMENTWISE, forceinline=False, parallel=True)


def jit_reduction(function: F) -> F:
    """Compile a kernel whose sums may be added up in any order."""
    return _compile(function, REDUCTION)


def jit_scalar(function: F) -> F:
    """Compile a scalar function without fastmath, callable from CPU and CUDA kernels alike."""
    return _compile(function, False)


def jit_part(function: F) -> F:
    """Make a function a part of kernels; to Python it stays the plain function that it is.

    Parts pass tuples of views around. Letting Python call their compiled form would take longer to
    compile, and no one needs it. They round as written, without fastmath: the same tick gives the
    same bits whichever kernel a part is compiled into.
    """
    return register_jitable(**_PART)(function)


def jit_inlined(function: F) -> F:
    """Likewise, and never called where it may be compiled into its caller.

    Views go into a call one number at a time, over a hundred for those of a forecaster, which takes
    longer than many a part works.
    """
    return register_jitable(**{**_PART, "forceinline": True})(function)


def jit_view(function: F) -> F:
    """Make a function that returns a single view a part of kernels.

    Numba lets no function do so that does not count owners. Of a view it finds none.
    """
    return register_jitable(**{**_PART, "_nrt": True})(function)


def jit_choice(files: Callable[[], dict[type, Any]]) -> Callable[[F], F]:
    """Make a function stand for those of its name in several files.

    The type of its first argument, one of the named tuples in `files()`, chooses: in kernels when
    they are compiled, so that a choice costs nothing and what is not chosen is not compiled.
    """

    def decorate(function: F) -> F:
        name = function.__name__

        def choose(*types: Any) -> Callable[..., Any]:
            return getattr(files()[types[0].instance_class], name)

        def call(*args: Any) -> Any:
            return getattr(files()[type(args[0])], name)(*args)

        overload(call, jit_options=_PART, strict=False)(choose)
        return update_wrapper(call, function)  # type: ignore[return-value]

    return decorate
