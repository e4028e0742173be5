"""Random keys by purpose: one seed for a run, and no key used for two things."""

import zlib
from typing import NamedTuple

import jax

from vaelab.types import Key


def named_key(seed: int, purpose: str) -> Key:
    """The key of one purpose under a seed.

    The purpose's checksum is folded in, a number of 32 bits, so that keys of different purposes stay apart
    from each other and from what `split` and `fold_in` with a step or an index make of key(seed).
    """
    return purpose_key(jax.random.key(seed), purpose)


def purpose_key(key: Key, purpose: str) -> Key:
    """`named_key` under a key."""
    return jax.random.fold_in(key, zlib.crc32(purpose.encode()))


class Keys(NamedTuple):
    """The keys of a run, one for each purpose, all of one seed."""

    model: Key
    learned: Key
    encoder: Key
    train: Key
    evaluate: Key
    recognise: Key
    inference: Key
    evidence: Key
    pictures: Key
    pilot: Key
    simulate: Key
    corrupt: Key
    bidirectional: Key
    calibrate: Key
    search: Key


def run_keys(seed: int) -> Keys:
    """The keys of a run: each purpose is the name of its field."""
    return Keys(*(named_key(seed, purpose) for purpose in Keys._fields))
