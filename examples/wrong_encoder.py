"""What an audit shows of a mistake: an encoder that hands over the variance where sigma belongs.

    python examples/wrong_encoder.py

The VAE is that of nnx_vae.py, trained as there: L[q*] and log p(x) are the same in both tables, and all that
is lost is in the amortization gap. Measured on two CPU cores: 73 s of processor time, 44 s by the
clock. 200 held-out digits, nats:

                          encode               wrong(encode)
    amortized L[q_phi]    -23.63 ± 0.26        -25.96 ± 0.27
    optimal L[q*]         -23.32 ± 0.26        -23.32 ± 0.26
    log p(x), lower bound -23.04 ± 0.26        -23.04 ± 0.26
    amortization gap      0.309 ± 0.015        2.635 ± 0.044
    approximation gap     0.2811 ± 0.0067      0.2810 ± 0.0067
    not converged         0                    0

and under the second table

    with sqrt(sigma) in the place of sigma the encoder's bound is 2.351 ± 0.038 nats
    higher: does encode return the variance?
"""
# pip install -e . flax==0.12.8

import jax
from nnx_vae import LATENT_DIM, digits, train

import vaelab


def audit(vae, encode, x_NxD, **settings):
    return vaelab.audit(
        vae.log_likelihood,
        encode,
        x_NxD,
        latent_dim=LATENT_DIM,
        key=jax.random.key(1),
        families=("diagonal",),
        evidence="importance",
        **settings,
    )


def wrong(encode):
    """encode with sigma^2 in the place of sigma."""

    def wrong_encode(x_D):
        mu_K, sigma_K = encode(x_D)
        return mu_K, sigma_K**2

    return wrong_encode


if __name__ == "__main__":
    train_NxD, test_NxD = digits()
    vae = train(train_NxD)
    for encode in (vae.encode, wrong(vae.encode)):
        audit(vae, encode, test_NxD).table()
