"""Changes of a config, as the tests of its readers make them."""

from experiments import digits_gap


def changed(config, key, value):
    *sections, name = key.split(".")
    holder = config
    for section in sections:
        holder = holder[section]
    with holder.unlocked():
        holder[name] = value
    return config


def learned_in(regime, **changes):
    config = digits_gap.get_config("smoke")
    for key, value in {"learning.regime": regime, "data.observe": "once", **changes}.items():
        changed(config, key, value)
    return config
