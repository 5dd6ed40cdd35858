"""Holds the arrows between the rooms, the sizes of files and functions, and what git may track.

data          imports no other room
fasa_core     torch, numpy and the standard library; scikit-learn in super_groups.py alone
trainer       may import data and fasa_core; its run_log only numpy and the standard library
app           may import trainer.run_log, config, data_layouts, data_paths, presets and
              feature_export of trainer, never torch
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("app", "data", "fasa_core", "trainer")
LONGEST_FILE = 400  # lines
LONGEST_FUNCTION = 60  # lines


@dataclass(frozen=True)
class Rule:
    """What the modules under one folder or file may import; the most exact rule holds.

    Attributes:
        only: packages allowed beside the standard library; None allows all that `never` does not
            name.
        never: packages refused.
        still: modules allowed all the same.
    """

    only: tuple[str, ...] | None = None
    never: tuple[str, ...] = ()
    still: tuple[str, ...] = ()

    def allows(self, name: str) -> bool:
        if within(name, self.still):
            return True
        if self.only is None:
            return not within(name, self.never)
        return name.partition(".")[0] in sys.stdlib_module_names or within(name, self.only)


# What would let something that a browser sent start a program or run as code.
RUNS_CODE = ("subprocess", "multiprocessing", "pty", "pickle", "marshal", "shelve", "code", "runpy")

RULES = {
    "app": Rule(
        never=("torch", "torchvision", "fasa_core", "data", "trainer", *RUNS_CODE),
        still=(
            "trainer.run_log",
            "trainer.config",
            "trainer.data_layouts",
            "trainer.data_paths",
            "trainer.presets",
            # What the command line exports can be downloaded from a page, too.
            "trainer.feature_export",
        ),
    ),
    "data": Rule(never=("app", "fasa_core", "trainer")),
    "fasa_core": Rule(only=("fasa_core", "torch", "numpy")),
    "fasa_core/super_groups.py": Rule(only=("fasa_core", "torch", "numpy", "sklearn")),
    "trainer": Rule(never=("app", "torchvision.models.detection")),
    "trainer/model.py": Rule(never=("app",)),
    "trainer/heads.py": Rule(never=("app",)),
    "trainer/input_transform.py": Rule(never=("app",)),
    "trainer/roi_sampling.py": Rule(never=("app",)),
    "trainer/box_stage.py": Rule(never=("app",)),
    "trainer/mask_branch.py": Rule(never=("app",)),
    # Not in the run log's room, as pictures need Pillow.
    "trainer/feature_export.py": Rule(only=("trainer.run_log", "trainer.feature_sprite", "numpy")),
    "trainer/feature_sprite.py": Rule(only=("numpy", "PIL")),
    "trainer/run_log": Rule(only=("trainer.run_log", "numpy")),
}


def within(name: str, modules: tuple[str, ...]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def imports(source: str, module: str) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of all a module imports, inside functions and by string too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = module.split(".")[: -node.level] if node.level else []
            start = ".".join([*package, *filter(None, [node.module])])
            yield from ((node.lineno, f"{start}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = ast.unparse(node.func).rpartition(".")[2]
            if called in ("import_module", "__import__"):
                yield node.lineno, str(node.args[0].value)


def rule_of(path: str) -> Rule:
    """The rule of a module, by its path from the root."""
    folders = [path, *(str(parent) for parent in Path(path).parents)]
    return RULES[next(folder for folder in folders if folder in RULES)]


def wrong_imports(root: Path) -> list[str]:
    found = []
    for file in modules(root):
        path = file.relative_to(root)
        parts = path.with_suffix("").parts
        # The package's own __init__ counts as a module in it: one dot then means the package.
        for line, name in imports(file.read_text(encoding="utf-8"), ".".join(parts)):
            if not rule_of(path.as_posix()).allows(name):
                found.append(f"{path}:{line} imports {name}")
    return found


def code_runners(root: Path) -> list[str]:
    """Calls in the dashboard that run text as code, or a program."""
    found = []
    for file in sorted((root / "app").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                start = called.startswith(("os.system", "os.exec", "os.spawn", "os.popen"))
                if start or called in ("eval", "exec", "compile"):
                    found.append(f"{file.relative_to(root)}:{node.lineno} calls {called}")
    return found


def too_long(root: Path) -> list[str]:
    found = []
    places = (*ROOMS, "tests", "benchmarks")
    for file in sorted(f for place in places for f in (root / place).rglob("*.*")):
        if file.suffix not in (".py", ".js", ".css"):
            continue
        count = len(file.read_text(encoding="utf-8").splitlines())
        if count > LONGEST_FILE:
            found.append(f"{file.relative_to(root)} has {count} lines")
    for file in modules(root):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                count = node.end_lineno - node.lineno + 1
                if count > LONGEST_FUNCTION:
                    found.append(f"{file.relative_to(root)}: {node.name} has {count} lines")
    return found


def refused_names(root: Path) -> list[str]:
    """Modules and packages named after nothing."""
    files = (file for file in modules(root))
    names = ((file, (*file.relative_to(root).parent.parts, file.stem)) for file in files)
    return [str(file.relative_to(root)) for file, parts in names if {"utils", "util"} & set(parts)]


def modules(root: Path) -> list[Path]:
    return sorted(file for room in ROOMS for file in (root / room).rglob("*.py"))


# A slash, one of two folder names, a slash; written so that this file does not match itself.
MACHINE_PATH = re.compile(r"(?<![\w.~])/(?:work|root)/")


def machine_paths(text: str) -> list[int]:
    """The numbers of the lines that name a place on one machine."""
    return [n for n, line in enumerate(text.splitlines(), start=1) if MACHINE_PATH.search(line)]


# The project


def test_rooms_import_only_what_they_may() -> None:
    assert wrong_imports(ROOT) == []


def test_the_dashboard_runs_nothing_as_code() -> None:
    assert code_runners(ROOT) == []


def test_files_and_functions_stay_short() -> None:
    assert too_long(ROOT) == []


def test_nothing_is_called_utils() -> None:
    assert refused_names(ROOT) == []


def test_the_rooms_are_where_the_rules_look() -> None:
    """Against a rule that passes because its file was renamed."""
    assert all((ROOT / place).exists() for place in (*ROOMS, *RULES))


def light_modules() -> list[str]:
    """What must load without torch: all a dashboard and a supervisor need."""
    light = [*(ROOT / "app").rglob("*.py"), *(ROOT / "trainer" / "run_log").glob("*.py")]
    light += [ROOT / "trainer" / "config.py", ROOT / "trainer" / "supervisor.py"]
    names = (file.relative_to(ROOT).with_suffix("").parts for file in light if file.exists())
    # Streamlit runs a page from top to bottom: it is not there to be imported.
    return sorted(".".join(parts) for parts in names if parts[:2] not in STREAMLIT_SCRIPTS)


STREAMLIT_SCRIPTS = (("app", "pages"), ("app", "main"))


def test_the_dashboard_and_the_supervisor_load_without_torch() -> None:
    names = [name.removesuffix(".__init__") for name in light_modules()]
    assert {"trainer.config", "trainer.run_log.reader", "trainer.supervisor"} <= set(names)
    heavy = loaded_by(names)
    assert heavy == ""


def loaded_by(names: list[str]) -> str:
    """Of torch and what imports it, what a fresh interpreter holds after importing `names`."""
    code = (
        "import importlib, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "heavy = {'torch', 'torchvision', 'sklearn', 'fasa_core', 'data'} & set(sys.modules)\n"
        "print(*sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_no_tracked_file_names_a_place_on_one_machine() -> None:
    found = []
    for file in tracked_files():
        try:
            text = file.read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue  # no text, or deleted and not yet committed
        found += [f"{file.relative_to(ROOT)}:{line}" for line in machine_paths(text)]
    assert found == []


def tracked_files() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name]


# The checks themselves


@pytest.mark.parametrize(
    ("path", "source", "name"),
    [
        ("app/charts.py", "import torch", "torch"),
        ("app/charts.py", "import torch.nn as nn", "torch.nn"),
        ("app/charts.py", "def f():\n    from torch import nn", "torch.nn"),
        ("app/charts.py", "from trainer.model import build", "trainer.model.build"),
        ("app/charts.py", "from trainer import config, engine", "trainer.engine"),
        ("app/pages/live.py", "import data.demo", "data.demo"),
        ("app/pages/live.py", "from subprocess import run", "subprocess.run"),
        ("app/live.py", "import importlib\nimportlib.import_module('torch')", "torch"),
        ("app/live.py", "__import__('fasa_core.fasa')", "fasa_core.fasa"),
        ("data/lvis.py", "from trainer.run_log import reader", "trainer.run_log.reader"),
        ("data/lvis.py", "import fasa_core", "fasa_core"),
        ("fasa_core/prior.py", "import sklearn.cluster", "sklearn.cluster"),
        ("fasa_core/super_groups.py", "import scipy", "scipy"),
        ("fasa_core/fasa.py", "from data.categories import Category", "data.categories.Category"),
        ("fasa_core/fasa.py", "from ..trainer import config", "trainer.config"),
        ("trainer/run_log/writer.py", "import pydantic", "pydantic"),
        ("trainer/run_log/writer.py", "from ..config import RunConfig", "trainer.config.RunConfig"),
        ("trainer/engine.py", "from app import charts", "app.charts"),
        (
            "trainer/engine.py",
            "from torchvision.models.detection import roi_heads",
            "torchvision.models.detection.roi_heads",
        ),
        (
            "trainer/engine.py",
            "from torchvision.models import detection",
            "torchvision.models.detection",
        ),
    ],
)
def test_a_wrong_import_is_seen(tmp_path: Path, path: str, source: str, name: str) -> None:
    write(tmp_path / path, source)
    line = len(source.splitlines())
    assert wrong_imports(tmp_path) == [f"{path}:{line} imports {name}"]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("app/charts.py", "import plotly, numpy\nfrom trainer.run_log.reader import RunLogReader"),
        ("app/charts.py", "from trainer import config\nfrom trainer.config import RunConfig"),
        ("app/pages/live.py", "from . import runs\nfrom .. import charts"),
        ("data/lvis.py", "import torch\nfrom data import demo\nfrom lvis import LVIS"),
        ("fasa_core/prior.py", "import math\nimport torch.nn.functional as F\nimport numpy as np"),
        ("fasa_core/super_groups.py", "from sklearn.cluster import DBSCAN"),
        ("trainer/model.py", "from torchvision.models.detection import MaskRCNN"),
        ("trainer/engine.py", "from torchvision.models import resnet50\nimport data.demo"),
        ("trainer/run_log/reader.py", "import sqlite3\nimport numpy\nfrom .schema import open"),
        ("trainer/run_log/__init__.py", "from . import schema"),
    ],
)
def test_a_right_import_is_let_through(tmp_path: Path, path: str, source: str) -> None:
    write(tmp_path / path, source)
    assert wrong_imports(tmp_path) == []


def test_text_run_as_code_is_seen(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "page.py").write_text("import os\nos.system('ls')\nx = eval('1')\n")
    found = code_runners(tmp_path)
    assert found == ["app/page.py:2 calls os.system", "app/page.py:3 calls eval"]


def test_a_long_file_and_a_long_function_are_seen(tmp_path: Path) -> None:
    body = "        pass\n"
    write(tmp_path / "data" / "a.py", f"def short():\n{body * (LONGEST_FUNCTION - 1)}")
    write(tmp_path / "data" / "b.py", f"class A:\n    async def long(self):\n{body * 400}")
    write(tmp_path / "app" / "c.js", "\n" * (LONGEST_FILE + 1))
    write(tmp_path / "app" / "d.css", "\n" * LONGEST_FILE)
    assert too_long(tmp_path) == [
        "app/c.js has 401 lines",
        "data/b.py has 402 lines",
        "data/b.py: long has 401 lines",
    ]


def test_a_module_called_utils_is_seen(tmp_path: Path) -> None:
    for path in ("data/utils.py", "trainer/utils/paths.py", "app/futile.py"):
        write(tmp_path / path, "")
    assert refused_names(tmp_path) == ["data/utils.py", "trainer/utils/paths.py"]


def test_torch_in_a_fresh_interpreter_is_seen() -> None:
    assert loaded_by(["fasa_core.options"]) == "fasa_core"
    assert loaded_by(["json"]) == ""


@pytest.mark.parametrize("folder", ["work", "root"])
def test_a_place_on_one_machine_is_seen(folder: str) -> None:
    place = f"/{folder}/"
    text = f"fine\ncd {place}shared\nsee docs{place}x and ~{place} and rest/{folder}\n'{place}a'"
    assert machine_paths(text) == [2, 4]


def write(file: Path, source: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source)
