"""normflows: the reverse KL of a flow, and its VAE."""

from functools import partial

from benchmarks.packages.expected import importance_bound
from benchmarks.packages.functions import in_torch
from benchmarks.packages.model import Model
from benchmarks.packages.record import Number, Package, Values, tell

PACKAGE = Package(
    name="normflows",
    title="normflows",
    pins=("normflows==1.7.3", "torch==2.13.0", "numpy==2.4.6"),
    about="""`reverse_kld` and `forward_kld` are named after divergences and are these only up to a
constant: the first is minus an ELBO where the target is log p(x, z), and negative where log p(x) is
large; the second the mean of minus log_prob of the data. One of its bases does not integrate to 1
([findings](../findings/README.md)).""",
    numbers=(
        Number(
            "reverse_kld",
            "NormalizingFlow(q0, [], target).reverse_kld(10)",
            "minus the ELBO of a datapoint, mean over the samples",
            "L[q]",
            -1.0,
            "bound from below, after the sign",
        ),
        Number(
            "vae",
            "NormalizingFlowVAE(prior, encoder, [], decoder)(x, 1)",
            "z, log q and log p(x, z) of a sample: the difference of the last two, of each datapoint",
            "L[q]",
            1.0,
            "bound from below",
        ),
        Number(
            "vae_importance",
            "logsumexp of the same with 10 samples, less log 10",
            "the importance-weighted bound of each datapoint",
            "log p(x)",
            1.0,
            "bound from below",
            partial(importance_bound, samples=10),
            "10 samples for each datapoint",
        ),
    ),
)


def measured(model: Model) -> Values:
    import math

    import normflows as nf
    import torch

    torch.manual_seed(0)
    f = in_torch(model)
    mu, log_var = f.encode(f.x_NxD)

    def reverse_kld(n: int) -> float:
        class Target(nf.distributions.Target):
            def log_prob(self, z):
                return f.log_joint(f.x_NxD[n], z)

        q0 = nf.distributions.DiagGaussian(2)
        q0.loc.data, q0.log_scale.data = mu[n : n + 1], 0.5 * log_var[n : n + 1]
        return (
            nf.NormalizingFlow(q0, [], Target(prop_scale=torch.tensor(1.0), prop_shift=torch.tensor(0.0)))
            .reverse_kld(10)
            .item()
        )

    class Heads(torch.nn.Module):
        def forward(self, x):
            return torch.cat(f.encode(x), 1)

    class Decoder(torch.nn.Module):
        def forward(self, z):
            return f.logits(z)

    vae = nf.NormalizingFlowVAE(
        nf.distributions.DiagGaussian(2, trainable=False),
        nf.distributions.NNDiagGaussian(Heads()),
        [],
        nf.distributions.NNBernoulliDecoder(Decoder()),
    )

    def log_weights(samples: int) -> torch.Tensor:
        _, log_q, log_p = vae(f.x_NxD, samples)
        return log_p - log_q

    with torch.no_grad():
        return {
            "reverse_kld": [sum(reverse_kld(n) for n in range(len(mu))) / len(mu) for _ in range(200)],
            "vae": [log_weights(1).mean().item() for _ in range(1000)],
            "vae_importance": [
                (torch.logsumexp(log_weights(10), 1) - math.log(10)).mean().item() for _ in range(300)
            ],
        }


if __name__ == "__main__":
    tell(PACKAGE, measured)
