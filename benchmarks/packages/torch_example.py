"""The VAE example of PyTorch: the loss that it prints, written anew."""

from benchmarks.packages.functions import in_torch
from benchmarks.packages.model import Model
from benchmarks.packages.record import Number, Package, Trap, Values, tell

BATCH = 8

PACKAGE = Package(
    name="torch_example",
    title="The VAE example of PyTorch",
    pins=("torch==2.13.0", "numpy==2.4.6"),
    about="""The example prints `Average loss` of an epoch, over all its steps, whose weights differ, and
`Test set loss`: the binary cross-entropy summed over pixels and images, plus the closed-form KL, divided
by the number of images.""",
    numbers=(
        Number(
            "loss",
            "Test set loss",
            "minus the ELBO, mean over the images, one sample of z each",
            "L[q]",
            -1.0,
            "bound from below, after the sign, where x is binary",
        ),
    ),
    traps=(
        Trap(
            "grey",
            "Its MNIST is grey. The cross-entropy of a grey pixel is no log-density: at p = 0.5 exp of its "
            "negative integrates to "
            "{value:.3f} over x from 0 to 1. Binarise x (`data.observation`), or use the continuous "
            "Bernoulli.",
            0.499,
            0.501,
        ),
        Trap(
            "clamped",
            "`binary_cross_entropy` holds each log at -100 at least: a pixel of 1 at a logit of -120 costs "
            "{value:.0f} nats, with "
            "gradient 0, and the printed number is then above the ELBO. Use the `_with_logits` one.",
            99.99,
            100.01,
        ),
    ),
)


def measured(model: Model) -> Values:
    import torch
    from torch.nn.functional import binary_cross_entropy

    torch.manual_seed(0)
    f = in_torch(model)

    def printed() -> float:
        total = 0.0
        for x in f.x_NxD.split(BATCH):
            mu, log_var = f.encode(x)
            z = mu + torch.exp(0.5 * log_var) * torch.randn_like(mu)
            kl = 0.5 * torch.sum(log_var.exp() + mu**2 - 1.0 - log_var)
            total += (binary_cross_entropy(torch.sigmoid(f.logits(z)), x, reduction="sum") + kl).item()
        return total / len(f.x_NxD)

    grey = torch.linspace(0.0, 1.0, 1001)
    half = binary_cross_entropy(torch.full_like(grey, 0.5), grey, reduction="none")
    far = binary_cross_entropy(torch.sigmoid(torch.tensor([-120.0])), torch.ones(1))
    return {
        "loss": [printed() for _ in range(2000)],
        "grey": torch.exp(-half).mean(),
        "clamped": far,
    }


if __name__ == "__main__":
    tell(PACKAGE, measured)
