"""``speechportal batches list | batches look | tasks list | upload | wait | download``.

Exit status: 0 success, 1 an error (on standard error), 2 wrong usage, 3 a file could not be recognised, 4 not
finished in time.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from speechportal import __version__
from speechportal.cli.client import FINAL, CommandError, Portal

FAILED, LATE = 3, 4
LOOK_SECONDS = 5.0


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.run(Portal.from_environment(), arguments)
    except CommandError as error:
        print(f"speechportal: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except (
        BrokenPipeError
    ):  # The reader closed the pipe: `… --json | head`. Python flushes once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="speechportal",
        description="Recognise files with Speech Portal.",
        epilog="SPEECHPORTAL_URL is the portal's address, SPEECHPORTAL_TOKEN an API token.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for noun, listing in (("batches", _list_batches), ("tasks", _list_tasks)):
        group = commands.add_parser(noun, help=f"list {noun}").add_subparsers(required=True, metavar="ACTION")
        command = group.add_parser("list", help=f"list {noun}")
        command.add_argument("--json", action="store_true", help="one JSON object a line")
        if noun == "tasks":
            command.add_argument("batch", help="name or ID of a batch")
            command.add_argument("--state", action="append", help="only these; several times for several")
        command.set_defaults(run=listing)
        if noun == "batches":
            look = group.add_parser("look", help="look at a batch's input path now")
            look.add_argument("batch", help="name or ID of a batch")
            look.set_defaults(run=_look)
    _add_upload(commands.add_parser("upload", help="put files into a batch's input path"))
    _add_wait(commands.add_parser("wait", help="wait until files are recognised"))
    _add_download(commands.add_parser("download", help="save results"))
    return parser


def _add_upload(command: argparse.ArgumentParser) -> None:
    command.add_argument("batch", help="name or ID of a batch")
    command.add_argument("files", nargs="+", type=Path)
    command.add_argument("--folder", default="", help="a folder below the input path to put them in")
    command.add_argument("--replace", action="store_true", help="write over files of the same names")
    command.add_argument("--wait", action="store_true", help="until they are recognised")
    _add_timeout(command)
    command.set_defaults(run=_upload)


def _add_wait(command: argparse.ArgumentParser) -> None:
    command.add_argument("batch", help="name or ID of a batch")
    command.add_argument("names", nargs="+", help="files below the input path")
    _add_timeout(command)
    command.set_defaults(run=_wait)


def _add_timeout(command: argparse.ArgumentParser) -> None:
    command.add_argument("--timeout", type=float, default=3600, help="seconds; %(default)s unless told")


def _add_download(command: argparse.ArgumentParser) -> None:
    command.add_argument("batch", help="name or ID of a batch")
    command.add_argument("names", nargs="*", help="files below the input path; none: all that are recognised")
    command.add_argument(
        "--format",
        action="append",
        metavar="NAME",
        help="a file format of the portal, such as json (the default), srt or docx; may be repeated",
    )
    command.add_argument("--output", type=Path, default=Path(), help="folder to save them in")
    command.set_defaults(run=_download)


def _list_batches(portal: Portal, arguments: argparse.Namespace) -> int:
    rows = portal.rows("batches")
    if arguments.json:
        return _print_json(rows)
    lines = [("ID", "NAME", "DOMAIN", "STATUS", "DONE", "FAILED", "WAITING")]
    for row in rows:
        status = "paused" if row["paused_at"] else row["status"]
        progress = row["progress"]
        done, waiting = progress["completed"], progress["waiting"] + progress["running"]
        numbers = (str(done), str(progress["failed"]), str(waiting))
        lines.append((row["id"], row["name"], row["domain"]["code"], status, *numbers))
        if row["cause"]:
            print(
                f"{row['name']}: {row['cause']['message']} {row['cause']['advice']}".strip(), file=sys.stderr
            )
    return _print_table(lines)


def _list_tasks(portal: Portal, arguments: argparse.Namespace) -> int:
    batch = portal.batch(arguments.batch)
    rows = portal.rows("tasks", batch=batch["id"], **({"state": arguments.state} if arguments.state else {}))
    if arguments.json:
        return _print_json(rows)
    lines = [("ID", "NAME", "STATE", "PROGRESS")]
    lines += [(row["id"], row["name"], row["state"], f"{row['progress']} %") for row in rows]
    return _print_table(lines)


def _look(portal: Portal, arguments: argparse.Namespace) -> int:
    batch = portal.batch(arguments.batch)
    portal.call("POST", f"batches/{batch['id']}/look-now")
    print(f"{batch['name']}: looking at the input path")
    return 0


def _upload(portal: Portal, arguments: argparse.Namespace) -> int:
    batch = portal.batch(arguments.batch)
    if arguments.folder.startswith("/"):
        raise CommandError("--folder lies below the batch's input path: write it without a slash in front.")
    folder = f"{arguments.folder.strip('/')}/" if arguments.folder.strip("/") else ""
    missing = [str(file) for file in arguments.files if not file.is_file()]
    if missing:
        raise CommandError(f"No such file: {', '.join(missing)}")
    uploaded: dict[str, datetime | None] = {}
    for file in arguments.files:
        name = f"{folder}{file.name}"
        uploaded[name] = portal.upload(batch, file, name, replace=arguments.replace)
        print(f"{name}: uploaded", flush=True)
    return _wait_for(portal, batch, uploaded, arguments.timeout) if arguments.wait else 0


def _wait(portal: Portal, arguments: argparse.Namespace) -> int:
    batch = portal.batch(arguments.batch)
    return _wait_for(portal, batch, dict.fromkeys(arguments.names), arguments.timeout)


def _wait_for(
    portal: Portal, batch: dict[str, Any], names: dict[str, datetime | None], timeout: float
) -> int:
    """Wait until each file's task has ended, or ``timeout`` seconds; returns the exit status."""
    end, open_ones, status = time.monotonic() + timeout, dict(names), 0
    while True:
        for name, since in list(open_ones.items()):
            task = portal.task(batch, name, since)
            if task is None or task["state"] not in FINAL:
                continue
            del open_ones[name]
            print(f"{name}: {task['state']}", flush=True)
            if task["state"] != "completed":
                status = FAILED
                if task["cause"]:
                    print(f"  {task['cause']['message']} {task['cause']['advice']}".rstrip(), file=sys.stderr)
        if not open_ones:
            return status
        if time.monotonic() >= end:
            print(f"speechportal: not finished in time: {', '.join(open_ones)}", file=sys.stderr)
            return LATE
        time.sleep(min(LOOK_SECONDS, max(end - time.monotonic(), 0.1)))


def _download(portal: Portal, arguments: argparse.Namespace) -> int:
    batch = portal.batch(arguments.batch)
    extensions = portal.extensions()
    wanted = arguments.format or ["json"]
    if unknown := [name for name in wanted if name not in extensions]:
        raise CommandError(f"Unknown format: {', '.join(unknown)}. Choose from: {', '.join(extensions)}.")
    tasks = _tasks_to_save(portal, batch, arguments.names)
    for task in tasks:
        for name in wanted:
            answer = portal.call("GET", f"tasks/{task['id']}/results/{name}")
            path = _place(arguments.output, task["name"], extensions[name])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(answer.content)
            print(path, flush=True)
    return 0


def _tasks_to_save(portal: Portal, batch: dict[str, Any], names: list[str]) -> list[dict[str, Any]]:
    if not names:
        newest: dict[str, dict[str, Any]] = {}
        for task in portal.rows("tasks", batch=batch["id"], state="completed", ordering="-created_at"):
            newest.setdefault(task["name"], task)
        return list(newest.values())
    found = []
    for name in names:
        one = portal.task(batch, name)
        if one is None or one["state"] != "completed":
            raise CommandError(f"{name}: {one['state'] if one else 'there is no such task'}")
        found.append(one)
    return found


def _place(folder: Path, name: str, extension: str) -> Path:
    """Path of a result below ``folder``; refuses names that would escape from it."""
    parts = [part for part in PurePosixPath(name).parts if part not in {"/", "..", "."}]
    if not parts:
        raise CommandError(f"This name cannot be that of a file: {name!r}")
    return folder.joinpath(*parts[:-1], f"{parts[-1]}{extension}")


def _print_json(rows: Iterable[dict[str, Any]]) -> int:
    for row in rows:
        print(json.dumps(row, ensure_ascii=False))
    return 0


def _print_table(lines: Sequence[tuple[str, ...]]) -> int:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    return 0


if __name__ == "__main__":
    sys.exit(main())
