"""How kernels are compiled, decided in one place.

Decorators, from the entry point down:

    jit            an entry point, or a loop over arrays that others call; cached on disk
    jit_apart      a long-running kernel, compiled once instead of into each of its callers
    jit_parallel   an entry point whose `prange` uses threads
    jit_reduction  a sum that may be added up in any order
    jit_scalar     a function of numbers, shared by CPU and CUDA kernels
    jit_part       a function that only kernels call, with tuples of views as arguments
    jit_inlined    a short part, always compiled into its caller
    jit_view       a part that returns one view
    jit_choice     a name that stands for a function of each cell or each rule

docs/decisions.md has the measurements behind the flags.
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
    "fastmath": False,  # a part would inherit that of the kernel that it is compiled into
    "error_model": "numpy",
    "nogil": True,
    "_nrt": False,  # views have no owner, so there is nothing to count
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}


def _sources_hash() -> str:
    """Hash of all files that kernels are compiled from."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


_SOURCES = _sources_hash()


class _Notice(event.Listener):
    """Says on stderr which kernel is being compiled, and how long it took."""

    def __init__(self) -> None:
        self._depth = 0
        self._start = 0.0

    def on_start(self, event: Any) -> None:
        """Announce a kernel of this package, but not the parts that it is made of."""
        self._depth += 1
        function = event.data["dispatcher"].py_func
        if self._depth == 1:
            self._start = time.perf_counter()
            self._ours = function.__module__.startswith("streamlstm.")
            if self._ours:
                module = function.__module__.removesuffix(".entries").rpartition(".")[2]
                name = f"{module}.{function.__name__}"
                print(f"streamlstm: compiling {name} ...", end="", file=sys.stderr, flush=True)

    def on_end(self, event: Any) -> None:
        """Print how long it took."""
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
    # Numba stamps a cached kernel with its own file only. A change in a file that the kernel calls
    # would go unnoticed, so our stamp covers all kernel files.
    cache = dispatcher._cache
    cache._cache_file._source_stamp = (cache._cache_file._source_stamp, _SOURCES)
    # Numba tells closures apart by what they refer to, which differs between processes for kernels.
    identity = _identity(function), parallel
    cache._index_key = lambda sig, codegen: (sig, codegen.magic_tuple(), identity)
    return dispatcher


def _identity(value: Any) -> Any:
    """Identity of a value that a kernel refers to, the same in all processes."""
    function = getattr(value, "py_func", value)
    if not isinstance(function, FunctionType):
        return repr(value)
    cells = tuple(_identity(cell.cell_contents) for cell in function.__closure__ or ())
    return function.__module__, function.__qualname__, cells


def jit(function: F) -> F:
    """Compile a kernel: without the GIL, division by zero gives inf, cached on disk.

    A kernel that calls it compiles it in: passing ten arrays can take longer than the work itself.
    """
    return _compile(function, ELEMENTWISE)


def jit_apart(function: F) -> F:
    """Compile a kernel that runs long: callers call it instead of compiling it in."""
    return _compile(function, ELEMENTWISE, forceinline=False)


def jit_parallel(function: F) -> F:
    """Compile a kernel whose `prange` uses threads. One call at a time: see `fleets.rounds`."""
    return _compile(function, ELEMENTWISE, forceinline=False, parallel=True)


def jit_reduction(function: F) -> F:
    """Compile a kernel that may add up its sums in any order."""
    return _compile(function, REDUCTION)


def jit_scalar(function: F) -> F:
    """Compile a function of numbers, without fastmath, for CPU and CUDA kernels."""
    return _compile(function, False)


def jit_part(function: F) -> F:
    """Let kernels call a function; called from Python it runs uncompiled.

    Parts take tuples of views. An interface to Python would only add compile time. Parts are
    compiled without fastmath, so that a tick gives the same bits in every kernel.
    """
    return register_jitable(**_PART)(function)


def jit_inlined(function: F) -> F:
    """Like `jit_part`, but always compiled into the caller.

    A call passes the views of a forecaster as over a hundred numbers, which can take longer than
    the work itself.
    """
    return register_jitable(**{**_PART, "forceinline": True})(function)


def jit_view(function: F) -> F:
    """Like `jit_part`, for a function that returns a single view.

    Numba allows that only with reference counting switched on. It finds no owner to count.
    """
    return register_jitable(**{**_PART, "_nrt": True})(function)


def jit_choice(files: Callable[[], dict[type, Any]]) -> Callable[[F], F]:
    """Make a function stand for the functions of its name in several files.

    The type of its first argument, a named tuple among the keys of `files()`, chooses the file.
    Kernels choose at compile time, so the choice costs nothing and the other files are not
    compiled.
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
