"""Which parser reads corosync.conf: the built-in one, or one that COROSYNC_DEFAULT_CONFIG_IFACE names."""

from importlib import import_module
from pathlib import Path
from typing import Final

from corosync_amf.config.problems import Code, Report
from corosync_amf.config.syntax import parse_corosync
from corosync_amf.config.tree import Block

ENTRY_POINTS: Final = "corosync_amf.config_parsers"
_HISTORIC: Final = ("corosync_parser", "openaisparser", "openaisserviceenable")


def parse_with(names: str, path: Path, text: str, report: Report) -> Block:
    """Return the tree of the file at `path`, whose text is `text`.

    `names`: entry points, `module:function`, or historic names, joined by `:` and tried in order until one gives a
    tree; "" is the built-in parser. A parser is called with the path and returns a `Block`.
    """
    words = [word for word in names.split(":") if word] or [_HISTORIC[0]]
    failures: list[str] = []
    from importlib.metadata import entry_points  # slow to import, and seldom needed

    while words:
        word = words.pop(0)
        if word.startswith(_HISTORIC):
            return parse_corosync(text, report)
        found = list(entry_points(group=ENTRY_POINTS, name=word))
        target = f"{word}:{words.pop(0)}" if not found and words else word
        try:
            if found:
                function = found[0].load()
            else:
                module, _, name = target.partition(":")
                function = getattr(import_module(module), name)
            tree = function(path)
        except Exception as error:  # a foreign parser may fail in any way; the next one is tried
            failures.append(f"{target}: {str(error) or type(error).__name__}")
            continue
        if isinstance(tree, Block):
            return tree
        failures.append(f"{target}: returned no tree")
    message = f"no parser of COROSYNC_DEFAULT_CONFIG_IFACE could read the file ({'; '.join(failures)})"
    report.error(Code.UNREADABLE, None, "", message, f"the built-in one is '{_HISTORIC[0]}'")
    return Block()
