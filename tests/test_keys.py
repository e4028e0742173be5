"""Random keys by purpose."""

import jax
import numpy as np

from vaelab.keys import Keys, named_key, purpose_key, run_keys


def test_no_key_is_used_for_two_things():
    keys = run_keys(0)
    seed_key = jax.random.key(0)
    others = [named_key(0, purpose) for purpose in ("observe", "simulated", "study")]
    others += [*jax.random.split(seed_key, 20), *(jax.random.fold_in(seed_key, i) for i in range(100, 200))]
    everything = [*keys, *others]
    assert len({jax.random.key_data(key).tobytes() for key in everything}) == len(everything)


def test_keys_are_frozen():
    # A change here changes every number of this project: record it in the CHANGELOG.
    assert np.asarray(jax.random.key_data(named_key(0, "model"))).tolist() == [303697408, 1831871300]
    assert np.asarray(jax.random.key_data(run_keys(7).evidence)).tolist() == [1337940367, 2410325684]


def test_a_run_has_for_each_purpose_the_key_of_its_name_under_the_seed():
    keys = run_keys(3)
    for purpose in Keys._fields:
        same = purpose_key(jax.random.key(3), purpose)
        assert jax.random.key_data(getattr(keys, purpose)).tolist() == jax.random.key_data(same).tolist()
