"""Our JavaScript modules as one: a page asks for one file instead of forty.

Each module becomes a function of its own, in an order in which every module comes after those it
imports from, so names stay private and the text stays as it was written:

    const module_poll = (() => { ...; return { follow, get }; })();

It reads the few forms our modules use: `import { name as other } from "./file.js";` on one line and
`export` before a function, class or const.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter

_IMPORT = re.compile(r'^import \{ ([^}]+) \} from "\./(\w+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?function\*?|class|const) (\w+)", re.MULTILINE)
_OTHER_FORM = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)


class BundleError(ValueError):
    """The modules cannot be made one; the message is one sentence."""


def bundle(modules: Mapping[str, str], entry: str) -> str:
    """One module with the exports of `entry` and all it needs.

    Args:
        modules: name without `.js` to its text.
        entry: name of the module whose exports are exported.

    Raises:
        BundleError: a module that is not there, imports in a circle, or a form it does not read.
    """
    # Lists, not sets: the same modules make the same bundle, and so the same address, every time.
    needs = {
        name: [found[1] for found in _IMPORT.findall(modules[name])] for name in sorted(modules)
    }
    for name, needed in needs.items():
        if missing := sorted(set(needed) - set(modules)):
            raise BundleError(f"{name}.js imports from {missing[0]}.js, which is not there")
    try:
        order = list(TopologicalSorter(needs).static_order())
    except CycleError as error:
        circle = ".js, ".join(error.args[1])
        raise BundleError(f"these modules import each other in a circle: {circle}.js") from error
    wrapped = [_wrapped(name, modules[name]) for name in order]
    names = ", ".join(_exports(modules[entry]))
    return "\n".join([*wrapped, f"export const {{ {names} }} = module_{entry};\n"])


def _exports(text: str) -> list[str]:
    return [name for _, name in _EXPORT.findall(text)]


def _wrapped(name: str, text: str) -> str:
    names = ", ".join(_exports(text))
    text = _IMPORT.sub(
        lambda found: f"const {{ {found[1].replace(' as ', ': ')} }} = module_{found[2]};", text
    )
    text = _EXPORT.sub(r"\1 \2", text)
    if other := _OTHER_FORM.search(text):
        raise BundleError(f"{name}.js has '{other[0][:60]}', a form the bundle does not read")
    return f"const module_{name} = (() => {{\n{text}\nreturn {{ {names} }};\n}})();"
