"""The compiler's options of what measures."""

import jax
import numpy as np
import pytest

from vaelab.runtime import program
from vaelab.runtime.chunks import map_datapoints


def test_programs_are_compiled_with_the_options(monkeypatch):
    monkeypatch.setattr(program, "compiler_options", lambda: {"no_such_option": 1})
    with pytest.raises(Exception, match="no_such_option"):
        map_datapoints(lambda shared, x: x, None, np.zeros(2, np.float32), chunk_size=2)


def test_the_options_are_a_cpus_alone_and_this_compiler_knows_them(monkeypatch):
    options = program.compiler_options()
    assert jax.jit(lambda x: x + 1).lower(1.0).compile(options)(1.0) == 2.0
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert program.compiler_options() is None
