"""Other packages of this field, a file each: what is claimed of it, and the script that shows it."""

from benchmarks.packages import (
    arviz,
    blackjax,
    flax_example,
    flowjax,
    jax,
    normflows,
    numpyro,
    optax,
    pyro,
    pythae,
    sbi,
    scvi,
    tfp,
    torch_example,
    zuko,
)
from benchmarks.packages.record import Package

PACKAGES: dict[str, Package] = {
    module.PACKAGE.name: module.PACKAGE
    for module in (
        pythae,
        scvi,
        numpyro,
        pyro,
        tfp,
        blackjax,
        arviz,
        sbi,
        zuko,
        normflows,
        flowjax,
        torch_example,
        flax_example,
        jax,
        optax,
    )
}
"""In the order of the page."""
