"""What is claimed of a package: numbers that can be turned into vaelab's, and what to beware of."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from typing import NamedTuple

import numpy as np

from benchmarks.packages.model import Model

ERRORS = 5.0  # standard errors within which a number is what is said of it
ROUNDING = 2e-4  # nats that float32 may add
Values = Mapping[str, float | Iterable[float]]


class Exact(NamedTuple):
    """Means over the datapoints by quadrature, and what else a prediction is made of."""

    model: Model
    elbo: float
    log_evidence: float


def exactly(_: Exact) -> tuple[float, float]:
    """The difference of an unbiased estimate."""
    return 0.0, 0.0


class Number(NamedTuple):
    """A number that the package gives for the model of `model.shared`.

    name: its key in what `measured` returns. call: the package's own. says: sign, sum or mean, and the unit.
    of: the exact one that it is set beside, "L[q]" or "log p(x)". times: what makes it nats per datapoint, a
    lower bound or estimate of that one. kind: bound or estimate, and in which direction.
    expected(exact) -> (its difference from the exact one, the standard error of that), or the name of a value
    of `measured` that is the difference, by quadrature over the package's own density, or of several whose
    mean it is. because: why.
    """

    name: str
    call: str
    says: str
    of: str
    times: float
    kind: str
    expected: Callable[[Exact], tuple[float, float]] | str = exactly
    because: str = "unbiased"


class Trap(NamedTuple):
    """Something to beware of: a sentence with the figure as {value}, and where that lies while it is true."""

    name: str
    says: str
    low: float
    high: float


class Package(NamedTuple):
    """name: of the module. title, about: for the page. pins: what its environment has, the package first.

    python: the least version of Python that these pins are for.
    """

    name: str
    title: str
    pins: tuple[str, ...]
    about: str
    numbers: tuple[Number, ...] = ()
    traps: tuple[Trap, ...] = ()
    python: tuple[int, int] = (3, 11)


def tell(package: Package, measured: Callable[[Model], Values]) -> None:
    """Prints the JSON line of a package, in its environment: versions, and a list of values for each name."""
    values = {
        name: [float(value) for value in np.ravel(np.asarray(list(given) if np.iterable(given) else given))]
        for name, given in measured(Model.load(sys.argv[1])).items()
    }
    names = [pin.partition("==")[0] for pin in package.pins]
    print(json.dumps({"versions": {name: version(name) for name in names}, "values": values}))
