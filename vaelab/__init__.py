"""vaelab: train variational autoencoders and measure, with error bars, what their inference loses."""

__version__ = "0.1.0"
