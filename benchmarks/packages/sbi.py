"""sbi: a posterior that is fitted to simulations of the model, as q(z given x)."""

import math

from benchmarks.packages.functions import in_torch
from benchmarks.packages.model import Model, grid, log_evidence
from benchmarks.packages.record import Number, Package, Trap, Values, tell

SIMULATIONS = 2000

PACKAGE = Package(
    name="sbi",
    title="sbi",
    pins=("sbi==0.27.0", "torch==2.13.0", "numpy==2.4.6"),
    about="""Neural posterior estimation (`NPE`, a mixture density network) fitted to 2,000 simulations
(z, x) of the model. It never evaluates log p(x given z); its log_prob is log q(z given x), a density of
z and not of x, and no evidence comes with it. It standardises z and x, and its log_prob has the Jacobian
of that: it is a density of z in the units that were given.""",
    numbers=(
        Number(
            "npe",
            "log p(x, z) - posterior.log_prob(z, x), z its samples",
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
            "mass",
            "exp of the log_prob integrates to {value:.4f} over z, the mean over the datapoints.",
            0.99,
            1.01,
        ),
        Trap(
            "units",
            "The loss of the validation set, minus log q(z given x) of a simulation, depends on the unit of"
            " z: for 1,000 z it is higher by "
            "{value:.2f}, 2 log 1,000 = 13.82, and compares no two models whose z differ.",
            13.0,
            14.6,
        ),
    ),
)


def measured(model: Model) -> Values:
    import numpy as np
    import torch
    from sbi.inference import NPE

    torch.manual_seed(0)
    f = in_torch(model)
    z = torch.randn(SIMULATIONS, 2)
    x = torch.bernoulli(torch.sigmoid(f.logits(z)))

    def fitted(unit: float):
        torch.manual_seed(1)
        prior = torch.distributions.MultivariateNormal(torch.zeros(2), unit**2 * torch.eye(2))
        trainer = NPE(prior, density_estimator="mdn", show_progress_bars=False)
        estimator = trainer.append_simulations(unit * z, x).train(max_num_epochs=30)
        return trainer.build_posterior(estimator), trainer.summary["best_validation_loss"][-1]

    posterior, loss = fitted(1.0)
    _, scaled = fitted(1000.0)
    z_SxK, log_cell = grid(200, 8.0)
    z_SxK = torch.tensor(z_SxK, dtype=torch.float32)
    values, bounds, masses = [], [], []
    with torch.no_grad():
        for row in f.x_NxD:
            own = posterior.sample((300,), x=row, show_progress_bars=False)
            log_q = posterior.log_prob(own, x=row, norm_posterior=False)
            values.append((f.log_joint(row, own) - log_q).numpy())
            log_q = posterior.log_prob(z_SxK, x=row, norm_posterior=False).double().numpy()
            weight = np.exp(log_q + log_cell)
            bounds.append(np.sum(weight * (f.log_joint(row, z_SxK).double().numpy() - log_q)))
            masses.append(weight.sum())
    assert math.isfinite(loss)
    return {
        "npe": np.mean(values, 0),
        "minus_kl": np.mean(bounds) - log_evidence(model, model.x_NxD).mean(),
        "mass": np.mean(masses),
        "units": scaled - loss,
    }


if __name__ == "__main__":
    tell(PACKAGE, measured)
