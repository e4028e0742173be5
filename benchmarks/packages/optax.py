"""optax: what one large finite gradient does to Adam."""

from benchmarks.packages.model import Model
from benchmarks.packages.record import Package, Trap, Values, tell

PACKAGE = Package(
    name="optax",
    title="optax",
    pins=("optax==0.2.8", "jax==0.10.2", "jaxlib==0.10.2", "numpy==2.4.6"),
    about="Not a source of log p(x), but of what happens to it in training.",
    traps=(
        Trap(
            "adam",
            "`adam(0.1)`: after one gradient of 1e20, which is finite and whose square is not, 1,000 steps "
            "with a gradient of 1 move the "
            "coordinate by {value:g}: its second moment is infinite for good. vaelab's Adam is given no "
            "such gradient.",
            0.0,
            0.0,
        ),
        Trap("seen", "`apply_if_finite` counts {value:.0f} such steps as not finite.", 0, 0),
        Trap(
            "clipped",
            "`clip_by_global_norm(1.0)` makes a step of size {value:g} of it: the norm is infinite, and the"
            " gradient divided by it 0.",
            0.0,
            0.0,
        ),
    ),
)


def measured(model: Model) -> Values:
    import jax.numpy as jnp
    import optax

    del model
    transform = optax.apply_if_finite(optax.adam(0.1), 5)
    phi = jnp.zeros(1)
    state = transform.init(phi)
    large = jnp.full(1, 1e20)
    _, state = transform.update(large, state, phi)
    moved = 0.0
    for _ in range(1000):
        update, state = transform.update(jnp.ones(1), state, phi)
        moved += float(update[0])
    clip = optax.clip_by_global_norm(1.0)
    return {
        "adam": moved,
        "seen": state.total_notfinite,
        "clipped": jnp.abs(clip.update(large, clip.init(phi))[0])[0],
    }


if __name__ == "__main__":
    tell(PACKAGE, measured)
