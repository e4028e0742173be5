"""What measures as a compiled program: with which of the compiler's options."""

import functools
from collections.abc import Callable
from typing import Any

import jax

OPTIONS = {"xla_backend_optimization_level": 2, "xla_cpu_use_fusion_emitters": False}


def compiler_options() -> dict[str, Any] | None:
    """Those of every large program that measures: on a CPU what compiles in less time and runs in the same.

    Level 2 of LLVM's 3, and, up to jaxlib 0.11.0, fused operations without XLA's own emitters, whose code
    takes longer to make and runs no faster. The loops of fits and of the sampler round otherwise. What is
    trained is compiled as ever, see `train_chunk`.
    """
    if jax.default_backend() != "cpu":
        return None
    return {name: value for name, value in OPTIONS.items() if _known(name, value)}


@functools.cache
def _known(name: str, value: Any) -> bool:
    """Whether this compiler has the option: XLA's come and go, and one it lacks is an error."""
    try:
        jax.jit(lambda: 0).lower().compile({name: value})
    except jax.errors.JaxRuntimeError as error:
        if "No such compile option" not in str(error):
            raise
        return False
    return True


class Program:
    """`jax.jit` of a function with `compiler_options`, made at its first call, as those ask for devices.

    JAX refuses such a program inside of another one.
    """

    def __init__(self, function: Callable[..., Any], **settings: Any):
        self._function, self._settings = function, settings
        functools.update_wrapper(self, function)

    @functools.cached_property
    def jitted(self) -> Any:
        return jax.jit(self._function, compiler_options=compiler_options(), **self._settings)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.jitted(*args, **kwargs)
