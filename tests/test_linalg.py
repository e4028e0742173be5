import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaelab import linalg
from vaelab.posterior import full, low_rank


def matrices(*shape):
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


def positive(*shape):
    root = np.asarray(matrices(*shape))
    return jnp.asarray(root @ root.swapaxes(-1, -2) + np.eye(shape[-1], dtype=np.float32))


@pytest.mark.long
@pytest.mark.parametrize("name", ["cholesky", "qr"])
def test_factors_and_their_derivatives_are_those_of_jax(name):
    factor, known = getattr(linalg, name), getattr(jnp.linalg, name)
    matrix, direction = positive(6, 6), matrices(6, 6)

    def loss(factor):
        weight = jnp.arange(36.0).reshape(6, 6)
        return lambda a: sum(jnp.sum(jnp.sin(part) * weight) for part in jax.tree.leaves(factor(a)))

    ours, theirs = loss(factor), loss(known)
    for mine, its in zip(*map(jax.tree.leaves, (factor(matrix), known(matrix))), strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(jax.grad(ours)(matrix), jax.grad(theirs)(matrix), rtol=1e-4, atol=1e-4)
    second = [jax.jvp(jax.grad(f), (matrix,), (direction,))[1] for f in (ours, theirs)]
    np.testing.assert_allclose(*second, rtol=1e-3, atol=1e-3)


@pytest.mark.long
@pytest.mark.parametrize("shape", [(3, 4, 50, 50), (2, 150, 10, 10), (7, 60, 60)])
def test_batches_in_pieces_are_the_same_factors(shape):
    over = jax.vmap if len(shape) == 3 else lambda f: jax.vmap(jax.vmap(f))
    a, p = matrices(*shape), positive(*shape)
    np.testing.assert_allclose(
        jax.jit(over(linalg.cholesky))(p), jnp.linalg.cholesky(p), rtol=1e-4, atol=1e-5
    )
    inverse, log_det = jax.jit(over(linalg.inverse_and_log_abs_det))(a)
    np.testing.assert_allclose(log_det, jnp.linalg.slogdet(a)[1], rtol=1e-4)
    identity = np.broadcast_to(np.eye(shape[-1], dtype=np.float32), shape)
    np.testing.assert_allclose(a @ inverse, identity, atol=0.02)
    q, r = jax.jit(over(linalg.qr))(a)
    np.testing.assert_allclose(q @ r, a, atol=1e-4)
    np.testing.assert_allclose(q @ q.mT, identity, atol=1e-5)
    value, vector = jax.jit(over(linalg.eigh))(p)
    np.testing.assert_allclose((vector * value[..., None, :]) @ vector.mT, p, rtol=1e-3, atol=1e-3)


WORK = {"sgetrf": 1, "spotrf": 1, "sgeqrf": 4 / 3, "sorgqr": 4 / 3, "ssyevd": 9}  # in K^3 multiplications


def divided_calls(function, *arguments):
    """The batches of LAPACK calls in the compiled program that jaxlib would divide over XLA's threads."""
    text = jax.jit(function).lower(*arguments).compile().as_text()
    calls = re.findall(r"= \(?f32\[([\d,]+)\].*custom_call_target=\"lapack_(\w+?)_ffi", text)
    assert calls
    sized = [(name, *map(int, shape.split(","))) for shape, name in calls]
    batches = [call for call in sized if len(call) == 4 and call[1] > 1]
    return [call for call in batches if WORK[call[0]] * call[1] * call[2] ** 3 >= 200_000]


@pytest.mark.long
@pytest.mark.skipif(not linalg.DIVIDES, reason="this jaxlib divides no LAPACK call")
@pytest.mark.parametrize("shape", [(800, 10, 10), (2, 100, 10, 10), (500, 50, 50)])
def test_no_batch_is_enough_work_to_be_divided(shape):
    """In pieces, where the whole batch would be divided."""
    over = jax.vmap if len(shape) == 3 else lambda f: jax.vmap(jax.vmap(f))
    assert divided_calls(lambda a: jnp.linalg.cholesky(a.reshape(-1, *shape[-2:])), positive(*shape))
    assert not divided_calls(over(linalg.cholesky), positive(*shape))
    for function in (linalg.inverse_and_log_abs_det, linalg.qr, linalg.eigh):
        assert not divided_calls(over(function), positive(*shape))


@pytest.mark.long
@pytest.mark.skipif(not linalg.DIVIDES, reason="this jaxlib divides no LAPACK call")
@pytest.mark.parametrize("family", [full(50), low_rank(50, rank=10)], ids=lambda family: family.name)
def test_no_family_has_a_batch_that_is_divided(family):
    """In a step of the inner loop: the gradient of the bound, and the natural gradient."""
    phi_NxP = jnp.tile(family.init(), (1000, 1)) + 0.01

    def step(phi_P, eps_K):
        grad_P = jax.grad(lambda phi_P: family.sample_and_log_prob(phi_P, eps_K)[1])(phi_P)
        return family.gaussian.natural_gradient(phi_P, grad_P), family.kl_to_prior(phi_P)

    assert not divided_calls(jax.vmap(step), phi_NxP, jnp.ones((1000, 50)))


def test_what_is_factored_for_each_datapoint_is_factored_here():
    """The models' closed forms and the studies factor one matrix, which is common to all datapoints."""
    package = Path(linalg.__file__).parent
    closed = ("model/linear_gaussian.py", "model/linear_gaussian_hierarchy.py")
    known = {package / name for name in ("linalg.py", "measure/gap.py", *closed)}
    assert all(path.is_file() for path in known)
    known |= set(package.glob("study/*"))
    for path in set(package.rglob("*.py")) - known:
        assert not re.search(r"(jnp|lax|scipy)\.linalg\.(?!block_diag)", path.read_text()), path


def test_two_devices_factor_at_once():
    mesh = jax.make_mesh((2,), ("runs",))
    spec = jax.sharding.PartitionSpec("runs")
    invert = jax.vmap(linalg.inverse_and_log_abs_det)
    on_each = jax.jit(jax.shard_map(invert, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False))
    matrix_NxKxK = matrices(64, 10, 10)
    put = jax.device_put(matrix_NxKxK, jax.sharding.NamedSharding(mesh, spec))
    inverse_NxKxK, log_det_N = on_each(put)
    np.testing.assert_allclose(
        log_det_N, np.linalg.slogdet(np.float64(matrix_NxKxK))[1], rtol=1e-4, atol=1e-4
    )
    identity = np.broadcast_to(np.eye(10), matrix_NxKxK.shape)
    np.testing.assert_allclose(np.float64(matrix_NxKxK) @ np.float64(inverse_NxKxK), identity, atol=1e-3)
