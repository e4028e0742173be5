"""Whether x and z have a part in a density."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.audit.test_auditing import K, log_likelihood, points, run
from vaelab.audit import auditing
from vaelab.audit.given import given_model
from vaelab.audit.uses import _read, check_uses


def notes(monkeypatch, **changes):
    seen = []
    monkeypatch.setattr(auditing, "_measured", lambda prepared, *_: seen.extend(prepared.notes))
    run(**changes)
    return seen


def closed_over(x_D, z_K):
    return log_likelihood(points()[0], z_K)


ONE = "does it close over one datapoint?"
SAME = {
    "x is not used": (lambda x_D, z_K: -0.5 * (z_K @ z_K), ONE),
    "one x is closed over": (closed_over, ONE),
    "compiled": (jax.jit(closed_over), ONE),
    "x changes nothing": (lambda x_D, z_K: jnp.sum(0.0 * x_D) - 0.5 * (z_K @ z_K), "x changes nothing in it"),
    "z is not used": (lambda x_D, z_K: log_likelihood(x_D, jnp.ones(K)), "does not depend on z"),
}


@pytest.mark.parametrize("case", SAME)
def test_a_density_without_x_or_z_is_noted(case, monkeypatch):
    density, line = SAME[case]
    (note,) = notes(monkeypatch, log_likelihood=density, encode=None)
    assert line in note


def test_neither_equal_datapoints_nor_a_loop_are_noted(monkeypatch):
    def in_a_loop(x_D, z_K):
        return jax.lax.fori_loop(0, 2, lambda _, total: total + 0.5 * log_likelihood(x_D, z_K), 0.0)

    assert notes(monkeypatch, log_likelihood=in_a_loop) == []
    assert notes(monkeypatch, x=np.tile(points()[:1], (5, 1))) == []


def given(density):
    return given_model(density, *[None] * 5, K, 0)


def in_a_loop(x, z):
    return jax.lax.fori_loop(0, 2, lambda _, total: total + z.sum(), 0.0 * x.sum())


@pytest.mark.parametrize(
    ("density", "used"),
    [
        (lambda x, z: x.sum() + z.sum(), (True, True)),
        (lambda x, z: z.sum(), (False, True)),
        (jax.jit(lambda x, z: z.sum()), (False, True)),
        (lambda x, z: jax.jit(lambda a, b: (a.sum(), b.sum()))(x, z)[0], (True, False)),
        (lambda x, z: jax.jit(jax.jit(lambda a, b: a.shape[0] + b[0]))(x, z), (False, True)),
        (in_a_loop, (True, True)),
    ],
)
def test_what_a_density_takes_is_read_from_its_trace(density, used):
    assert _read(given(density), jnp.zeros(3), jnp.zeros(K)) == used


def test_what_varies_is_a_line_and_what_does_not_a_note_and_a_line():
    x, z_NxK, lines = np.float32(np.eye(5)), np.zeros((5, K), np.float32), []
    assert check_uses(given(lambda x, z: x @ jnp.arange(5.0) + z.sum()), x, z_NxK, lines) == []
    assert [line.result for line in lines] == ["varies with x, and takes z"]
    lines = []
    notes = check_uses(given(lambda x, z: x.sum() + z.sum()), x, z_NxK, lines)  # of one-hot x always 1
    assert [line.result for line in lines] == notes
    assert "the same at every one of 5 datapoints, though x differs: x changes nothing in it" in notes[0]
