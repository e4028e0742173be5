"""The settings of the model with their defaults: a part of `defaults`, which has them all."""

from ml_collections import ConfigDict


def model() -> ConfigDict:
    """p(x, z): the decoder and its likelihood."""
    config = ConfigDict()
    config.name = "decoder"  # decoder, linear_gaussian
    config.learn = True  # False: the model stays as it was initialised
    config.latent_dim = 10
    config.network = "mlp"  # mlp, convolutional
    config.channels = (32, 64)  # convolutional only: one layer of stride 2 each, on images of any size
    config.residual = 0  # convolutional only: blocks of two 3x3 convolutions beside each of these layers
    # convolutional only: products of matrices over squares of pixels, or conv, which is flax.linen.Conv
    config.convolution = "products"
    # convolutional only: centre, each pixel from as far on all sides, or corner, from below and right alone
    config.alignment = "corner"
    config.hidden = (200, 200)  # convolutional: one width, or ()
    config.activation = "relu"  # relu, tanh, elu, softplus, swish
    config.likelihood = ConfigDict()
    # binarize: bernoulli; dequantize or identity: gaussian, gaussian_one_variance, student_t, beta;
    # rescale or identity: continuous_bernoulli, clipped_gaussian; rescale: categorical, ordinal,
    # discretized_logistic, discretized_logistic_mixture; identity: poisson, negative_binomial,
    # zero_inflated_negative_binomial
    config.likelihood.name = "bernoulli"
    config.likelihood.min_variance = 1e-3  # gaussian and the like: the floor of each dimension's variance
    config.likelihood.degrees_of_freedom = 5.0  # student_t only
    config.likelihood.num_components = 5  # discretized_logistic_mixture only: for each dimension
    config.prior = prior()
    # p(x given y): y beside x in the encoder and beside z in the decoder
    # none; label; library_size, the total of counts x, which the decoder's parts of it are multiplied with
    config.condition = ConfigDict({"name": "none"})
    config.condition.prior = False  # label only; True: p(z given y) has a mean and a scale for each y
    return config


def prior() -> ConfigDict:
    """p(z)."""
    config = ConfigDict()
    # standard_normal, N(0, I); learned with the model: mixture, vamp, flow, autoregressive, hierarchy, or
    # one of your own, module:attribute
    config.name = "standard_normal"
    config.num_components = 500  # mixture, vamp
    config.pseudo_inputs = "data"  # vamp only, where they start: data (training examples), noise
    config.flow = "real_nvp"  # flow only: real_nvp, iaf
    config.num_layers = 4  # flow only
    config.hidden = 64  # flow, autoregressive, hierarchy
    config.num_gaussians = 5  # autoregressive only: components of each latent dimension, given those before
    # hierarchy only: the dimensions of each level of z, the one next to x first; latent_dim in all.
    config.levels = ()
    config.reads = "first"  # hierarchy only, what p(x given z) reads: first (the first level), all
    return config
