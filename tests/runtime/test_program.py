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


def test_an_option_that_this_compiler_lacks_is_left_out(monkeypatch):
    """As `xla_cpu_use_fusion_emitters` is from jaxlib 0.11.1 on."""
    monkeypatch.setattr(program, "OPTIONS", {"no_such_option": 1, "xla_backend_optimization_level": 1})
    assert program.compiler_options() == {"xla_backend_optimization_level": 1}
    doubled = map_datapoints(lambda shared, x: x + x, None, np.ones(2, np.float32), chunk_size=2)
    np.testing.assert_array_equal(doubled, 2.0)


def test_an_option_with_a_value_that_is_none_is_an_error(monkeypatch):
    monkeypatch.setattr(program, "OPTIONS", {"xla_backend_optimization_level": "high"})
    with pytest.raises(Exception, match="high"):
        program.compiler_options()


def test_the_options_are_a_cpus_alone_and_this_compiler_knows_them(monkeypatch):
    options = program.compiler_options()
    assert jax.jit(lambda x: x + 1).lower(1.0).compile(options)(1.0) == 2.0
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert program.compiler_options() is None
