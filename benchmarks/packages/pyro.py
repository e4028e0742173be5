"""Pyro: losses of SVI, and what its Renyi bound takes the mean over."""

from contextlib import nullcontext
from functools import partial

from benchmarks.packages.expected import importance_bound, joint_importance_bound
from benchmarks.packages.functions import in_torch
from benchmarks.packages.model import Model, N
from benchmarks.packages.record import Number, Package, Values, tell

PACKAGE = Package(
    name="pyro",
    title="Pyro",
    pins=("pyro-ppl==1.9.2", "torch==2.13.0", "numpy==2.4.6"),
    about="""SVI with a model of the datapoints in a plate. A loss is minus a bound on the whole data set,
scaled up to it with `subsample_size`; `svi.step` returns that of before the step. `TraceMeanField_ELBO`
takes the KL in closed form where there is one.""",
    numbers=(
        Number(
            "trace_elbo",
            "Trace_ELBO().loss(model, guide, x)",
            "minus the ELBO, sum over the datapoints, one sample of z",
            "L[q]",
            -1.0 / N,
            "bound from below, after the sign",
        ),
        Number(
            "mean_field",
            "TraceMeanField_ELBO().loss(model, guide, x)",
            "the same with the KL in closed form",
            "L[q]",
            -1.0 / N,
            "bound from below, after the sign",
        ),
        Number(
            "renyi",
            "RenyiELBO(alpha=0, num_particles=10).loss(...)",
            "minus the importance-weighted bound, sum over the datapoints of a plate",
            "log p(x)",
            -1.0 / N,
            "bound from below, after the sign",
            partial(importance_bound, samples=10),
            "10 samples for each datapoint",
        ),
        Number(
            "renyi_no_plate",
            "the same, .to_event(2) in the place of the plate",
            "minus that of all datapoints as a single one",
            "log p(x)",
            -1.0 / N,
            "bound from below, after the sign, and nearer to the ELBO the more datapoints there are",
            partial(joint_importance_bound, samples=10),
            "a sample's weight is then the product over the datapoints",
        ),
    ),
)


def measured(model: Model) -> Values:
    import pyro
    import pyro.distributions as dist
    import torch
    from pyro.infer import RenyiELBO, Trace_ELBO, TraceMeanField_ELBO

    pyro.set_rng_seed(0)
    f = in_torch(model)

    def datapoints(x, plate):
        """The datapoints in a plate, with events of their own, or all of them one event."""
        return (pyro.plate("datapoints", len(x)), 1) if plate else (nullcontext(), 2)

    def vae(x, plate=True):
        place, dims = datapoints(x, plate)
        with place:
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x), 2), 1.0).to_event(dims))
            pyro.sample("x", dist.Bernoulli(logits=f.logits(z)).to_event(dims), obs=x)

    def guide(x, plate=True):
        mu, log_var = f.encode(x)
        place, dims = datapoints(x, plate)
        with place:
            pyro.sample("z", dist.Normal(mu, torch.exp(0.5 * log_var)).to_event(dims))

    def losses(objective, repeats, **how):
        with torch.no_grad():
            return [objective.loss(vae, guide, f.x_NxD, **how) for _ in range(repeats)]

    renyi = RenyiELBO(alpha=0, num_particles=10)
    return {
        "trace_elbo": losses(Trace_ELBO(), 1000),
        "mean_field": losses(TraceMeanField_ELBO(), 1000),
        "renyi": losses(renyi, 300),
        "renyi_no_plate": losses(renyi, 300, plate=False),
    }


if __name__ == "__main__":
    tell(PACKAGE, measured)
