"""The gaps of any model whose log p(x, z) can be written in JAX."""
