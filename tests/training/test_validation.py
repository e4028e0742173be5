"""The validation ELBO."""

import jax
import numpy as np

from tests.training.test_loop import INDEX, NUM_POINTS, pixels, system  # noqa: F401
from vaelab.training import step as train
from vaelab.training.validation import evaluate


def test_every_point_counts_and_the_error_is_reported(system, pixels):  # noqa: F811
    state = train.init_state(system, jax.random.key(1))
    x_NxD = (pixels > 8).astype(np.float32)
    settings = {"num_samples": 4, "chunk_size": 16}
    parameters = system, state.theta, state.psi
    mean, stderr = evaluate(*parameters, x_NxD, INDEX, jax.random.key(6), **settings)
    first, _ = evaluate(*parameters, x_NxD[:16], INDEX[:16], jax.random.key(6), **settings)
    rest, _ = evaluate(*parameters, x_NxD[16:], INDEX[16:], jax.random.key(6), **settings)
    np.testing.assert_allclose(mean, (16 * first + (NUM_POINTS - 16) * rest) / NUM_POINTS, rtol=1e-5)
    assert 0 < stderr < 5.0
    # The draws of one datapoint are not those of another: of one x many times, only they differ.
    same_NxD = np.tile(x_NxD[:1], (NUM_POINTS, 1))
    _, of_draws = evaluate(*parameters, same_NxD, INDEX, jax.random.key(6), **settings)
    assert of_draws > 1e-3
