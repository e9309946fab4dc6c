"""CasADi Functions called through fixed buffers: some microseconds instead of tens."""

from __future__ import annotations

from typing import Any

import casadi as ca
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


class Buffered:
    """A Function with dense outputs that reads from and writes to fixed arrays.

    Fill ``inputs`` and call; the results are views that the next call overwrites. Not safe for
    threads.

    Parameters
    ----------
    function : casadi.Function
        Its outputs are made dense.
    inputs : list of arrays, optional
        Arrays to read from, for Functions that share their arguments.
    flat : tuple of int
        The outputs that are given as vectors; the others keep two dimensions.
    """

    def __init__(
        self, function: ca.Function, inputs: list[Array] | None = None, flat: tuple[int, ...] = (0,)
    ) -> None:
        symbols = [ca.SX.sym(f"a{i}", *function.size_in(i)) for i in range(function.n_in())]
        dense = [ca.densify(out) for out in function.call(symbols)]
        self.function = ca.Function(function.name(), symbols, dense, {"cse": True})
        self.inputs = inputs or [np.zeros(function.numel_in(i)) for i in range(function.n_in())]
        outputs = [
            np.zeros(self.function.size_out(i), order="F") for i in range(self.function.n_out())
        ]
        pair: Any = self.function.buffer()  # the type stubs of casadi miss its buffer protocol
        self._buffer, self._evaluate = pair
        for i, given in enumerate(self.inputs):
            if given.size:
                self._buffer.set_arg(i, given.data)
        for i, result in enumerate(outputs):
            if result.size:
                self._buffer.set_res(i, result.T.data)
        self.results = [a.ravel("A") if i in flat else a for i, a in enumerate(outputs)]

    def __call__(self) -> list[Array]:
        self._evaluate()
        return self.results
