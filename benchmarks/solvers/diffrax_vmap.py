"""diffrax: all individuals of a batch in one compiled loop, on the CPU, in 64 bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from solvers.work import ATOL, Work


class Diffrax:
    """``vmap`` over individuals; Tsit5 where nothing is stiff, else Kvaerno5."""

    name, tool = "diffrax, vmap", "diffrax"

    def prepare(self, work: Work) -> Callable[[int, float], Any]:
        """Legs of equal length under ``lax.scan``; doses of zero where there are none."""
        import diffrax
        import jax
        import jax.numpy as jnp

        jax.config.update("jax_enable_x64", True)
        slope = _slope(work, jnp)
        solver = diffrax.Tsit5() if work.name == "a" else diffrax.Kvaerno5()
        leg, doses, nodes = _equal_legs(work)
        term = diffrax.ODETerm(lambda t, x, p: slope(x, p))
        grid = jnp.array(nodes)

        def one(theta: Any, start: Any, rtol: Any) -> Any:
            control = diffrax.PIDController(rtol=rtol, atol=ATOL * rtol)

            def step(x: Any, dose: Any) -> Any:
                begin = x + dose
                found = diffrax.diffeqsolve(
                    term, solver, 0.0, leg, None, begin, theta, stepsize_controller=control,
                    saveat=diffrax.SaveAt(ts=grid), max_steps=100_000,
                    adjoint=diffrax.ForwardMode(),
                )  # fmt: skip
                states = found.ys
                return states[-1], jnp.concatenate([begin[None], states[:-1]])

            last, parts = jax.lax.scan(step, start, jnp.array(doses))
            return jnp.concatenate([parts.reshape(-1, work.n), last[None]])

        batch = jax.jit(jax.vmap(one, in_axes=(0, 0, None)))
        outputs = jax.jit(jax.vmap(jax.vmap(_outputs(work, jnp), (0, None)), (0, 0)))

        def run(count: int, rtol: float) -> Any:
            theta = work.theta[:count]
            return np.asarray(outputs(batch(theta, work.starts[:count], rtol), theta))

        return run


def _equal_legs(work: Work) -> tuple[float, np.ndarray, np.ndarray]:
    """Length of a leg, doses at the begin of each, output times within one."""
    length = min(leg.end - leg.begin for leg in work.legs)
    count = round(float(work.times[-1]) / length)
    doses = np.zeros((count, work.n))
    for time, index, amount in work.doses:
        doses[round(time / length), index] += amount
    nodes = work.times[(work.times > 0) & (work.times <= length)]
    assert len(nodes) * count + 1 == len(work.times)
    return length, doses, nodes


def _slope(work: Work, jnp: Any) -> Callable[[Any, Any], Any]:
    """Written out for few states; the column with array operations, as one does in jax."""
    if work.n < 40:
        return _written(work.python("slope", "x, p", work.ode), "slope", work.n, jnp)
    place = {int(i): k for k, i in enumerate(work.order)}
    back = np.array([place[i] for i in range(work.n)])
    cells = (work.n - 1) // 4

    def slope(x: Any, p: Any) -> Any:
        u, k, qm, b1, dax, fs = (p[i] for i in range(6))
        z, dz = x[back], 10.0 / cells
        c, q = z[:-1].reshape(cells, 4)[:, :2], z[:-1].reshape(cells, 4)[:, 2:]
        b = jnp.array([1.0, 0.0]) * b1 + jnp.array([0.0, 0.1])
        below = 1.0 + c @ b
        dq = k * (qm * jnp.array([50.0, 60.0]) * b * c / below[:, None] - q)
        left = jnp.concatenate([jnp.full((1, 2), z[-1] * fs), c[:-1]])
        across = jnp.diff(c, axis=0)
        edge = jnp.zeros((1, 2))
        spread = jnp.concatenate([across, edge]) - jnp.concatenate([edge, across])
        dc = u / dz * (left - c) + dax / dz**2 * spread - 1.5 * dq
        flat = jnp.concatenate([dc, dq], axis=1).reshape(-1)
        return jnp.append(flat, 0.0)[work.order]

    return slope


def _outputs(work: Work, jnp: Any) -> Callable[[Any, Any], Any]:
    return _written(work.python("outputs", "x, p", work.y), "outputs", work.n_outputs, jnp)


def _written(source: str, name: str, size: int, jnp: Any) -> Callable[[Any, Any], Any]:
    space: dict[str, Any] = {}
    exec(source, space)

    def function(x: Any, p: Any) -> Any:
        out: list[Any] = [0.0] * size
        space[name](x, p, out)
        return jnp.stack([jnp.asarray(value, float) for value in out])

    return function
