"""From the arguments of a launch to its flags and its config, or one line that says what is wrong."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from vaelab.command.experiments import load
from vaelab.command.flags import CONFIG, FLAGS, define
from vaelab.errors import ConfigError, did_you_mean

DEFAULT = "digits_gap"
KINDS = {
    flags.IntegerParser: "an integer",
    flags.FloatParser: "a number",
    flags.BooleanParser: "True or False",
}
OURS = {  # what absl and ml_collections say, in words for a user
    rf"^(--{CONFIG}\S*?)=.*Failed to parse .* as a ConfigDict.*": (
        r"\1 is a section: change a setting of it, \1.KEY=VALUE"
    ),
    r"invalid literal for int\(\) with base 10: ": "must be an integer, not ",
    r"^Missing value for flag (--\S+)$": r"\1 needs a value: \1=VALUE",
}


def parse(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Defines the flags in `values` and reads them, with `config` among them, its settings changed.

    argv: with the name of the program first. Raises ConfigError, in one line.
    """
    try:
        argv, experiment = _experiment(argv)
        config = load(experiment)
        settings = list(_settings(argv))
        for setting in settings:
            _check(setting, config)
        define(values)
        _plainly(values, [flag.name for flag in FLAGS if flag.kind == "boolean"])
        config_flags.DEFINE_config_dict(CONFIG, config, flag_values=values, sys_argv=argv)
        _plainly(values, {f"{CONFIG}.{setting}" for setting in settings})
        _, *rest = values(argv)
    except ConfigError:
        raise
    except (flags.Error, ValueError, TypeError, LookupError, AttributeError) as error:
        raise ConfigError(_text(error)) from error
    if rest:
        meant = rest[0].startswith(f"{CONFIG}.") or rest[0].partition("=")[0] in set(values)
        fix = f"did you mean --{rest[0]}?" if meant else f"settings are --{CONFIG}.KEY=VALUE"
        raise ConfigError(f"{rest[0]!r} is not a flag; {fix}")


def _plainly(values: flags.FlagValues, names: Iterable[str]) -> None:
    for name in names:
        if type(values[name].parser) in KINDS:
            values[name].parser = _Plain(values[name].parser)


def _experiment(argv: Sequence[str]) -> tuple[list[str], str]:
    """The arguments without --config and with those of flag files in their place, and the last --config.

    It is read by itself, before the others: which settings there are is known from its file alone.
    """
    first = flags.FlagValues()
    first.set_gnu_getopt(True)  # an argument that is no flag does not end the search
    flags.DEFINE_multi_string(CONFIG, [DEFAULT], "", flag_values=first)
    argv = first(argv, known_only=True)
    return argv, first[CONFIG].value[-1]


def _settings(argv: Sequence[str]) -> Iterator[str]:
    """The dotted names of the settings that the arguments change."""
    for argument in argv[1:]:
        if argument == "--":
            return
        name = argument.lstrip("-").partition("=")[0].removeprefix("no")
        if argument.startswith("-") and name.startswith(f"{CONFIG}."):
            yield name.removeprefix(f"{CONFIG}.")


def _check(setting: str, config: ConfigDict) -> None:
    """Raises ConfigError where the config has no setting of this name."""
    holder: Any = config
    for part in setting.split("."):
        name, bracket, _ = part.partition("[")  # what is in brackets ml_collections checks
        if not isinstance(holder, ConfigDict) or name not in holder:
            hint = did_you_mean(name, holder) if isinstance(holder, ConfigDict) else ""
            line = f"--{CONFIG}.{setting}: the config has no setting {name!r}"
            raise ConfigError(f"{line}; {hint}" if hint else line)
        if bracket:
            return
        holder = holder[name]


class _Plain(flags.ArgumentParser):
    """A parser that says what a value must be, where the one that it holds says it in words of Python."""

    def __init__(self, parser: flags.ArgumentParser):
        self._parser = parser

    def parse(self, argument: Any) -> Any:
        try:
            return self._parser.parse(argument)
        except (TypeError, ValueError):
            raise ValueError(f"must be {KINDS[type(self._parser)]}, not {argument!r}") from None

    def flag_type(self) -> str:
        return self._parser.flag_type()


def _text(error: Exception) -> str:
    """The line in an error of absl or ml_collections, which have no more than a text for most."""
    if isinstance(error, flags.CantOpenFlagFileError) and isinstance(error.__context__, OSError):
        reason = error.__context__
        return f"--flagfile={reason.filename} cannot be read: {reason.strerror}"
    if isinstance(error, UnicodeDecodeError):
        return "--flagfile: the file is no text; it has a flag on each line"
    if isinstance(error, flags.UnrecognizedFlagError):
        names = [CONFIG, "flagfile", *(flag.name for flag in FLAGS)]
        near = did_you_mean(f"--{error.flagname}", [f"--{name}" for name in names])
        return f"--{error.flagname} is not a flag; {near or 'see --help'}"
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])  # the text of a KeyError is in quotes
    line = str(error).removeprefix("flag ")
    for theirs, ours in OURS.items():
        line = re.sub(theirs, ours, line)
    return line
