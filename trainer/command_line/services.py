"""`fasa up`, `fasa supervise` and `fasa project`: what runs until somebody stops it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from trainer.command_line.parser import Parser, add_command
from trainer.dashboard import DashboardOptions
from trainer.projector import run_projector
from trainer.runs_folder import RunsFolder
from trainer.supervisor import STOP_SECONDS
from trainer.up import up


def add_commands(commands: Any) -> None:
    """All three."""
    up = add_command(commands, "up", _up, "start the supervisor, the dashboard and the projector")
    up.add_argument("--no-dashboard", action="store_true", help="no dashboard")
    up.add_argument(
        "--no-projector",
        action="store_true",
        help="no pictures of the feature space, which saves some 500 MB of memory",
    )
    up.add_argument("--port", type=int, default=8501, help="of the dashboard (default 8501)")
    up.add_argument("--address", default="127.0.0.1", help="of the dashboard (default 127.0.0.1)")
    up.add_argument(
        "--token-file", type=Path, metavar="FILE", help="holds the token the dashboard asks for"
    )
    up.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name a reverse proxy makes the dashboard known by; may be repeated",
    )
    up.add_argument("--no-demo", action="store_true", help="queue no demo run when there is none")
    _add_supervision(up)
    supervise = add_command(
        commands, "supervise", _supervise, "start the supervisor alone, and no demo"
    )
    _add_supervision(supervise)
    project = add_command(
        commands, "project", _project, "make the pictures of the feature space, without fasa up"
    )
    project.add_argument(
        "--once", action="store_true", help="stop when every snapshot has its pictures"
    )


def _add_supervision(command: Parser) -> None:
    command.add_argument(
        "--slots",
        type=int,
        metavar="N",
        help="runs that may train at once (default: one a GPU, or one); more share the GPUs",
    )
    command.add_argument(
        "--resume", action="store_true", help="let interrupted runs go on, but archived ones"
    )
    command.add_argument(
        "--grace",
        type=float,
        default=STOP_SECONDS,
        metavar="SECONDS",
        help="time for trainers to write a checkpoint when this is stopped, before they are "
        f"killed (default {STOP_SECONDS:g})",
    )


def _up(given: argparse.Namespace) -> int:
    options = DashboardOptions(
        port=given.port,
        address=given.address,
        token_file=given.token_file,
        allowed_hosts=given.allow_host,
    )
    return up(
        RunsFolder(given.runs),
        dashboard=None if given.no_dashboard else options,
        projector=not given.no_projector,
        demo=not given.no_demo,
        slots=given.slots,
        resume=given.resume,
        grace=given.grace,
    )


def _supervise(given: argparse.Namespace) -> int:
    return up(
        RunsFolder(given.runs),
        dashboard=None,
        projector=False,
        demo=False,
        slots=given.slots,
        resume=given.resume,
        grace=given.grace,
    )


def _project(given: argparse.Namespace) -> int:
    return run_projector(RunsFolder(given.runs), once=given.once)
