"""pythae: VAE with an encoder and a decoder of one's own, its loss and `get_nll`."""

from functools import partial

from benchmarks.packages.expected import importance_bound
from benchmarks.packages.functions import in_torch
from benchmarks.packages.model import Model
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
    ),
)


def measured(model: Model) -> Values:
    import torch
    from pythae.data.datasets import DatasetOutput
    from pythae.models import VAE, VAEConfig
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

    with torch.no_grad():
        log_evidence = [vae.get_nll(f.x_NxD, n_samples=100) for _ in range(50)]
        return {
            "loss": [vae(DatasetOutput(data=f.x_NxD)).loss.item() for _ in range(2000)],
            "get_nll": log_evidence,
            "sign": log_evidence[0],
            "mse": squared(),
            "one": samples_of(1),
            "many": samples_of(199),
        }


if __name__ == "__main__":
    tell(PACKAGE, measured)
