"""Functions that Numba compiles for a CPU at their first call."""

import functools
from collections.abc import Callable

import numba


def compiled(function: Callable) -> Callable:
    """Compile a function to run without the interpreter's lock; cache the result if possible.

    Vector instructions may regroup sums over channels.
    """
    compile_it = functools.partial(
        numba.njit, nogil=True, error_model="numpy", fastmath={"reassoc", "nsz"}
    )
    try:
        return compile_it(cache=True)(function)
    except RuntimeError:  # no cache beside the source, and none in the user's cache folder
        return compile_it()(function)
