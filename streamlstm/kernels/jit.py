"""The one place that decides how kernels are compiled.

Measured reasons for the flags are in docs/decisions.md.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.extending import register_jitable

F = TypeVar("F", bound=Callable[..., Any])

# "reassoc" lets a dot product use vector lanes; nnan and ninf stay off so that isnan works.
ELEMENTWISE = {"contract", "arcp", "nsz"}
REDUCTION = ELEMENTWISE | {"reassoc"}


def _sources_hash() -> str:
    """Hash of every file that kernels are compiled from."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for path in [*sorted(package.glob("*.py")), package.parent / "layout.py"]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


_SOURCES = _sources_hash()


def _compile(function: F, fastmath: set[str] | bool) -> F:
    dispatcher: Any = numba.njit(error_model="numpy", nogil=True, fastmath=fastmath)(function)
    try:
        dispatcher.enable_caching()
    except RuntimeError:  # a read-only install without a writable home
        return dispatcher
    # Numba stamps a cached kernel with its own file only; a kernel that calls another file's
    # would survive a change there, so every stamp covers all kernel files.
    index = dispatcher._cache._cache_file
    index._source_stamp = (index._source_stamp, _SOURCES)
    return dispatcher


def jit(function: F) -> F:
    """Compile a kernel: no GIL, no Python objects, division by zero gives inf, cached on disk."""
    return _compile(function, ELEMENTWISE)


def jit_reduction(function: F) -> F:
    """Compile a kernel whose sums may be added up in any order."""
    return _compile(function, REDUCTION)


def jit_scalar(function: F) -> F:
    """Compile a scalar function without fastmath, callable from CPU and CUDA kernels alike."""
    return _compile(function, False)


def jit_part(function: F) -> F:
    """Make a function a part of kernels; to Python it stays the plain function that it is.

    Parts pass tuples of views around. Letting Python call their compiled form would take longer to
    compile, and no one needs it.
    """
    options = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return register_jitable(error_model="numpy", nogil=True, fastmath=ELEMENTWISE, **options)(
        function
    )
