"""The validation ELBO."""

import jax
import numpy as np

from tests.training.test_loop import INDEX, NUM_POINTS, pixels, system  # noqa: F401
from vaelab.training import step as train
from vaelab.training.validation import evaluate, mean_and_stderr


def test_every_point_counts_and_the_error_is_reported(system, pixels):  # noqa: F811
    state = train.init_state(system, jax.random.key(1))
    x_NxD = (pixels > 8).astype(np.float32)
    settings = {"num_samples": 4, "chunk_size": 16}
    parameters = system, state.theta, state.psi
    elbo_N = evaluate(*parameters, x_NxD, INDEX, jax.random.key(6), **settings)
    first_N = evaluate(*parameters, x_NxD[:16], INDEX[:16], jax.random.key(6), **settings)
    rest_N = evaluate(*parameters, x_NxD[16:], INDEX[16:], jax.random.key(6), **settings)
    np.testing.assert_allclose(elbo_N, np.concatenate([first_N, rest_N]), rtol=1e-5)
    mean, stderr = mean_and_stderr(elbo_N)
    np.testing.assert_allclose(mean, elbo_N.sum() / NUM_POINTS, rtol=1e-5)
    np.testing.assert_allclose(stderr**2, np.var(elbo_N) / (NUM_POINTS - 1), rtol=1e-4)
    # The draws of one datapoint are not those of another: of one x many times, only they differ.
    same_NxD = np.tile(x_NxD[:1], (NUM_POINTS, 1))
    of_draws_N = evaluate(*parameters, same_NxD, INDEX, jax.random.key(6), **settings)
    assert mean_and_stderr(of_draws_N)[1] > 1e-3
