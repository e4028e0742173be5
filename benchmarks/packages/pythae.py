"""pythae: VAE with an encoder and a decoder of one's own, its loss and `get_nll`."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.packages.expected import importance_bound
from benchmarks.packages.functions import in_torch
from benchmarks.packages.model import Model, grid, log_evidence, log_normal
from benchmarks.packages.record import Number, Package, Trap, Values, tell

PACKAGE = Package(
    name="pythae",
    title="pythae",
    pins=("pythae==0.1.2", "torch==2.13.0", "numpy==1.26.4"),
    about="""A VAE with `reconstruction_loss="bce"`. The loss is in nats and has no constant left out.""",
    numbers=(
        Number(
            "loss",
            'model({"data": x}).loss',
            "minus the ELBO, mean over the batch, one sample of z, KL in closed form",
            "L[q]",
            -1.0,
            "bound from below, after the sign",
        ),
        Number(
            "get_nll",
            "model.get_nll(x, n_samples=100)",
            "plus log p(x), mean over the datapoints, whatever its name says",
            "log p(x)",
            1.0,
            "bound from below in expectation",
            partial(importance_bound, samples=100),
            "importance sampling with 100 samples is low by about half the variance of its mean weight",
        ),
        Number(
            "planar",
            'VAE_LinNF(VAE_LinNF_Config(flows=["Planar", "Planar"]), ...).get_nll(x, n_samples=2_000)',
            "not log p(x), where a flow is not invertible: a z counts as often as it is reached",
            "log p(x)",
            1.0,
            "neither",
            "planar_by_quadrature",
            "quadrature of p(x, f(z)) abs det f'(z), less half the relative variance of the weights' mean",
        ),
    ),
    traps=(
        Trap(
            "mse",
            'With `reconstruction_loss="mse"` the reconstruction term is {value:.2f} times minus log N(x;'
            " mean, I) without its "
            "constant: subtract D / 2 log(2 pi) from minus the loss.",
            0.999,
            1.001,
        ),
        Trap(
            "sign",
            "`get_nll` returns the log-likelihood and not its negative: {value:.2f} where minus log p(x) is"
            " 3.54.",
            -3.7,
            -3.4,
        ),
        Trap(
            "one",
            "`get_nll(x, n_samples=1)`, the default, takes {value:.0f} samples of z for a datapoint: "
            "`batch_size` of them.",
            100,
            100,
        ),
        Trap(
            "many",
            "`get_nll(x, n_samples=199)` takes {value:.0f}: whole batches only, the rest is dropped.",
            100,
            100,
        ),
        Trap(
            "folded",
            "`VAE_LinNF` puts no constraint on its planar flows, z + u tanh(w z + b), which are invertible "
            "where w u is at least -1: of 200 untrained models with two of them, in two dimensions, "
            "{value:.0%} have one that is not. The number above is that of the first.",
            0.25,
            0.45,
        ),
        Trap(
            "folded_most",
            "By quadrature the most that any of them is too high by, in the mean over the datapoints, is "
            "{value:.2f} nats.",
            0.5,
            1.5,
        ),
    ),
)


def measured(model: Model) -> Values:
    import torch
    from pythae.data.datasets import DatasetOutput
    from pythae.models import VAE, VAE_LinNF, VAE_LinNF_Config, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    torch.manual_seed(0)
    f = in_torch(model)
    rows = []

    class Encoder(BaseEncoder):
        def forward(self, x):
            mu, log_var = f.encode(x.reshape(len(x), -1))
            return ModelOutput(embedding=mu, log_covariance=log_var)

    class Decoder(BaseDecoder):
        def forward(self, z):
            rows.append(len(z))
            return ModelOutput(reconstruction=torch.sigmoid(f.logits(z)))

    size = f.x_NxD.shape[1]
    config = VAEConfig(input_dim=(size,), latent_dim=2, reconstruction_loss="bce")
    vae = VAE(config, encoder=Encoder(), decoder=Decoder()).eval()

    def samples_of(n_samples: int) -> float:
        rows.clear()
        vae.get_nll(f.x_NxD[:1], n_samples=n_samples)
        return float(sum(rows))

    def squared() -> float:
        config = VAEConfig(input_dim=(size,), latent_dim=2, reconstruction_loss="mse")
        other = VAE(config, encoder=Encoder(), decoder=Decoder()).eval()
        output = other(DatasetOutput(data=f.x_NxD))
        half = 0.5 * ((output.recon_x - f.x_NxD) ** 2).sum(-1).mean()
        given = other.loss_function(output.recon_x, f.x_NxD, *f.encode(f.x_NxD), output.z)[1]
        return (given / half).item()

    def with_flows(seed: int) -> VAE_LinNF:
        torch.manual_seed(seed)
        config = VAE_LinNF_Config(input_dim=(size,), latent_dim=2, reconstruction_loss="bce")
        return VAE_LinNF(config, encoder=Encoder(), decoder=Decoder()).eval()

    with torch.no_grad():
        log_evidence = [vae.get_nll(f.x_NxD, n_samples=100) for _ in range(50)]
        return {
            "loss": [vae(DatasetOutput(data=f.x_NxD)).loss.item() for _ in range(2000)],
            "get_nll": log_evidence,
            "sign": log_evidence[0],
            "mse": squared(),
            "one": samples_of(1),
            "many": samples_of(199),
            **_planar(model, f.x_NxD, with_flows),
        }


def _planar(model: Model, x_NxD: Any, with_flows: Callable[[int], Any]) -> Values:
    """Of untrained models with two planar flows: those that a flow folds, as it is not invertible."""

    def folded(vae: Any) -> bool:
        return any((layer.w * layer.u).sum().item() < -1.0 for layer in vae.net)

    def by_quadrature(vae: Any, samples: float, **how: int) -> float:
        parts = [[part.double().numpy() for part in (layer.w[0], layer.u[0], layer.b)] for layer in vae.net]
        return _by_quadrature(model, parts, samples, **how)

    flows = [vae for vae in map(with_flows, range(200)) if folded(vae)]
    return {
        "planar": [flows[0].get_nll(x_NxD, n_samples=2_000) for _ in range(10)],
        "planar_by_quadrature": by_quadrature(flows[0], 2_000),
        "folded": len(flows) / 200,
        "folded_most": max(by_quadrature(vae, np.inf, points=200) for vae in flows),
    }


def _by_quadrature(model: Model, planar: list, samples: float, points: int = 800) -> float:
    """What importance sampling of this many samples is to give, by the flows' formula, less log p(x).

    The mean of a weight p(x, f(z)) abs det f'(z) / q(z), z ~ q, is the integral of p(x, f(z)) abs det f'(z),
    in which a point that f reaches from three z is counted three times. Its variance is by quadrature too.
    """
    z, log_cell = grid(points, 12.0)
    start, log_det = z, np.zeros(len(z))
    for w, u, b in planar:
        tanh = np.tanh(z @ w + b)
        log_det += np.log(np.abs(1.0 + (1.0 - tanh**2) * (w @ u)) + 1e-4)  # the package's own guard
        z = z + tanh[:, None] * u
    differences = []
    for x, mu, log_var in zip(model.x_NxD, *model.encode(model.x_NxD), strict=True):
        log_joint = model.log_likelihood(x, z) + log_normal(z) + log_det
        first, second = (
            np.log(np.sum(np.exp(part - part.max()))) + part.max() + log_cell
            for part in (log_joint, 2.0 * log_joint - log_normal(start, mu, log_var))
        )
        differences.append(first - 0.5 * np.expm1(second - 2.0 * first) / samples)
    return float(np.mean(differences) - log_evidence(model, model.x_NxD).mean())


if __name__ == "__main__":
    tell(PACKAGE, measured)
