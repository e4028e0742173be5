"""scvi-tools: `get_elbo` and `get_marginal_ll`, the encoder and decoder of the page in the module."""

import math
from functools import partial

from benchmarks.packages.expected import importance_bound
from benchmarks.packages.functions import in_torch
from benchmarks.packages.model import Model
from benchmarks.packages.record import Exact, Number, Package, Values, tell


def over(exact: Exact) -> tuple[float, float]:
    """That of 200 samples, of which the log of 101 is subtracted."""
    difference, error = importance_bound(exact, 200)
    return difference + math.log(200 / 101), error


def of_batches(exact: Exact) -> tuple[float, float]:
    """The unweighted mean over batches of 19 cells and of one."""
    from benchmarks.packages.model import log_evidence

    each = log_evidence(exact.model, exact.model.x_NxD)
    difference, error = importance_bound(exact, 1000, 400)
    return 0.5 * (each[:19].mean() + each[19]) - each.mean() + difference, error


PACKAGE = Package(
    name="scvi",
    title="scvi-tools",
    pins=("scvi-tools==1.5.1", "torch==2.14.1"),
    about="""`SCVI`, its module's encoder, decoder and likelihood replaced by those of the page: x is then
six genes of 20 cells, and the likelihood Bernoulli. Signs are as vaelab's. With its own `zinb` and `nb`
the numbers are log-probabilities of counts, comparable to those of
`model.likelihood.name="negative_binomial"` and its kin, with the observed library size given.""",
    numbers=(
        Number(
            "elbo",
            "model.get_elbo()",
            "the ELBO, mean over the cells, one sample of z",
            "L[q]",
            1.0,
            "bound from below",
        ),
        Number(
            "marginal",
            "model.get_marginal_ll(n_mc_samples=1000)",
            "log p(x), mean over the cells if one batch holds them all",
            "log p(x)",
            1.0,
            "bound from below in expectation",
            partial(importance_bound, samples=1000, repeats=400),
            "importance sampling with 1,000 samples",
        ),
        Number(
            "batches",
            "model.get_marginal_ll(n_mc_samples=1000, batch_size=19)",
            "the unweighted mean of the means of batches, here of 19 cells and of one",
            "log p(x)",
            1.0,
            "neither, where batches are of unequal size",
            of_batches,
            "the last cell has half of the weight",
        ),
        Number(
            "passes",
            "model.get_marginal_ll(n_mc_samples=101, n_mc_samples_per_pass=100)",
            "takes 200 samples and subtracts the log of 101",
            "log p(x)",
            1.0,
            "neither: too high by the log of the ratio",
            over,
            "log(200 / 101) = 0.683, and importance sampling with 200 samples",
        ),
    ),
    python=(3, 12),
)


def measured(model: Model) -> Values:
    import logging

    import anndata
    import numpy as np
    import scvi
    import torch

    logging.disable(logging.WARNING)
    scvi.settings.seed = 0
    f = in_torch(model)
    data = anndata.AnnData(np.float32(model.x_NxD))
    scvi.model.SCVI.setup_anndata(data)
    scvi.settings.verbosity = logging.ERROR
    fitted = scvi.model.SCVI(data, n_latent=2, use_observed_lib_size=True)
    _replace(fitted.module, f, torch)
    fitted.is_trained_ = True

    def of(call, repeats, **arguments):
        return [float(call(**arguments)) for _ in range(repeats)]

    marginal = fitted.get_marginal_ll
    return {
        "elbo": of(fitted.get_elbo, 100),
        "marginal": of(marginal, 10, n_mc_samples=1000),
        "batches": of(marginal, 10, n_mc_samples=1000, batch_size=19),
        "passes": of(marginal, 10, n_mc_samples=101, n_mc_samples_per_pass=100),
    }


def _replace(module, f, torch) -> None:
    """The module's inference and generative, as those of the page."""
    from torch.distributions import Bernoulli, Normal

    def inference(x, n_samples=1, **_):
        mu, log_var = f.encode(x)
        q = Normal(mu, torch.exp(0.5 * log_var))
        z = q.rsample() if n_samples == 1 else q.sample((n_samples,))
        library = torch.ones(*z.shape[:-1], 1)
        return {"z": z, "qz": q, "ql": None, "library": library}

    def generative(z, **_):
        prior = Normal(torch.zeros_like(z), torch.ones_like(z))
        return {"px": Bernoulli(logits=f.logits(z)), "pl": None, "pz": prior}

    module.inference, module.generative = inference, generative


if __name__ == "__main__":
    tell(PACKAGE, measured)
