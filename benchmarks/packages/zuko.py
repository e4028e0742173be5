"""zuko: conditional flows as q(z given x), and one that does not integrate to 1."""

from benchmarks.packages.functions import in_torch
from benchmarks.packages.model import Model, grid
from benchmarks.packages.record import Number, Package, Trap, Values, tell

PACKAGE = Package(
    name="zuko",
    title="zuko",
    pins=("zuko==1.6.0", "torch==2.13.0", "numpy==2.4.6"),
    about="""`flow(x).log_prob(z)` is in nats, of one z, normalised for the flows that are bijections of
the whole space, and of z in its own units: there is no standardisation. The bound is written by the
user. Here q is an untrained neural spline flow of x.""",
    numbers=(
        Number(
            "nsf",
            "log p(x, z) - log q, by NSF(2, 6)(x).rsample_and_log_prob",
            "the ELBO of each datapoint at a sample",
            "log p(x)",
            1.0,
            "bound from below",
            "minus_kl",
            "minus KL(q, p(z given x)), by quadrature over `log_prob`",
        ),
    ),
    traps=(
        Trap(
            "nsf_mass",
            "exp of the log_prob of `NSF(2, 6)` integrates to {value:.4f}.",
            0.998,
            1.002,
        ),
        Trap(
            "gf_mass",
            "That of an untrained `GF(1)`, Gaussianisation, integrates to {value:.2f} in one dimension, the"
            " least of ten seeds: its "
            "transform does not reach the ends of its base. Check the integral, or take another flow.",
            0.4,
            0.9,
        ),
    ),
)


def measured(model: Model) -> Values:
    import numpy as np
    import torch
    import zuko

    torch.manual_seed(0)
    f = in_torch(model)
    nsf = zuko.flows.NSF(2, 6, transforms=2, hidden_features=(16, 16))
    with torch.no_grad():
        q = nsf(f.x_NxD)
        values = []
        for _ in range(500):
            z, log_q = q.rsample_and_log_prob()
            values.append((f.log_joint(f.x_NxD, z) - log_q).mean().item())
        z_SxK, log_cell = grid(300, 9.0)
        z_SxK = torch.tensor(z_SxK, dtype=torch.float32)
        bounds, masses = [], []
        for x in f.x_NxD:
            log_q = nsf(x).log_prob(z_SxK).double().numpy()
            weight = np.exp(log_q + log_cell)
            bounds.append(np.sum(weight * (f.log_joint(x, z_SxK).double().numpy() - log_q)))
            masses.append(weight.sum())
        line = torch.linspace(-40.0, 40.0, 80_001)[:, None]
        least = 1.0
        for seed in range(10):
            torch.manual_seed(seed)
            least = min(least, float(zuko.flows.GF(1)().log_prob(line).exp().sum() * 0.001))
    from benchmarks.packages.model import log_evidence

    exact = log_evidence(model, model.x_NxD).mean()
    return {
        "nsf": values,
        "minus_kl": np.mean(bounds) - exact,
        "nsf_mass": np.mean(masses),
        "gf_mass": least,
    }


if __name__ == "__main__":
    tell(PACKAGE, measured)
