"""How the command line's help looks: options in sections, each with its default."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


class Option(click.Option):
    """An option that knows its section of the help."""

    def __init__(self, *args: Any, section: str = "Options", **how: Any) -> None:
        super().__init__(*args, **how)
        self.section = section


class Command(click.Command):
    """A command whose help shows its options in their sections, in the order in which they were declared."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections."""
        sections: dict[str, list[tuple[str, str]]] = {"Options": []}
        for parameter in self.get_params(ctx):
            row = parameter.get_help_record(ctx)
            if row is not None and isinstance(parameter, click.Option):
                sections.setdefault(getattr(parameter, "section", "Options"), []).append(row)
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl(rows)


class Group(click.Group):
    """The commands, in the order of their use rather than the alphabet's, each with its first sentence in full."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands' names as they were declared."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, c.get_short_help_str(1000)) for name, c in self.commands.items()])


def option(*names: str, **how: Any) -> Callable[[Any], Any]:
    """`click.option`, with a `section`."""
    return click.option(*names, cls=Option, **how)


def together(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several options as one decorator, in the order in which the help shows them."""

    def add(command: Any) -> Any:
        for one in reversed(options):
            command = one(command)
        return command

    return add
