"""Steps that are not finite are counted in a row, named, and one too many ends a run."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vaelab.training.skipped import Watch
from vaelab.training.step import StepMetrics, TrainState


def state(count=None):
    inner = optax.sgd(0.1)
    optimizer = inner if count is None else optax.apply_if_finite(inner, 5)
    opt_state = optimizer.init(jnp.zeros(1))
    if count is not None:
        opt_state = opt_state._replace(notfinite_count=jnp.int32(count))
    return TrainState(jnp.int32(0), (), (), opt_state)


def metrics(bound, grad_norm=None, bad_index=None):
    bound = np.float32(bound)
    grad_norm = np.ones_like(bound) if grad_norm is None else np.float32(grad_norm)
    return StepMetrics(
        bound, grad_norm, np.full(len(bound), -1) if bad_index is None else np.int32(bad_index)
    )


def test_steps_in_a_row_are_counted_across_chunks_and_one_too_many_fails():
    watch, nan = Watch(state(), 2), np.nan
    lines, failed = watch.see(10, metrics([1.0, nan, 1.0, nan]))
    assert [line.split(":")[0] for line in lines] == ["step 12", "step 14"]
    assert not failed
    lines, failed = watch.see(14, metrics([nan, nan, nan]))
    assert len(lines) == 3
    # Steps 14 and 15 were two in a row; the third is step 16, and it alone is named.
    assert failed.startswith("training met a value that is not finite at step 16:")


@pytest.mark.parametrize(("before", "fails"), [(None, False), (1, True)])
def test_a_run_that_goes_on_counts_on_from_its_optimizer(before, fails):
    """One step in a row is allowed, and one was left out before."""
    assert bool(Watch(state(before), 1).see(0, metrics([np.inf, 1.0]))[1]) == fails


def test_a_gradient_counts_too_and_the_datapoint_is_named():
    (line,), failed = Watch(state(), 0).see(0, metrics([1.0], [np.nan], [108]))
    assert line.endswith("gradient norm=nan, first at the datapoint of index 108")
    assert f"not finite at {line}; lower train.optimizer.learning_rate" in failed
