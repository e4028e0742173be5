"""What a plot draws, before it is a file."""


def axes_of(monkeypatch, module):
    """The axes of every figure that the module makes from now on, in a list that grows."""
    original, axes = module.figure, []

    def figure(*arguments):
        drawn, made = original(*arguments)
        axes.extend(made)
        return drawn, made

    monkeypatch.setattr(module, "figure", figure)
    return axes
