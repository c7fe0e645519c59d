"""Steps of an upgrade. Each is repeatable: an interrupted upgrade is continued by running it again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from speechportal.platform.upgrade import restarts
from speechportal.platform.upgrade.installation import Installation
from speechportal.platform.upgrade.journal import (
    Journal,
    JournalFile,
    NotReady,
    Process,
    UpgradeRefused,
)

SECONDS_BACK = 180.0  # minimum time for the previous code to become ready


@dataclass(frozen=True)
class UpgradeOptions:
    """Options that the operator gave."""

    target: str  # tag, branch or commit; empty: the current code
    backups: Path
    oldest_backup: float  # hours
    without_backup: bool
    packages: bool  # install packages if the lock file changed
    address: str  # of the web server; empty: as configured in its process
    seconds: float  # longest wait for /readyz


class Upgrade:
    """Upgrade of an installation. ``say`` prints a sentence."""

    def __init__(self, place: Installation, options: UpgradeOptions, say: Callable[[str], None]) -> None:
        self.place, self.options, self.say = place, options, say
        self.file = JournalFile(place.data)

    def run(self) -> bool:
        """Upgrade, or continue an interrupted upgrade. Returns whether the new code is running.

        Raises UpgradeRefused if it cannot begin, or can neither continue nor be rolled back.
        """
        with self.file.locked():
            journal = self.file.read()
            if journal is not None:
                self.say(f"Continuing the upgrade of {journal.begun_at} at the step “{journal.step}”.")
                return self._continue(journal)
            journal = self._begin()
            return True if journal is None else self._continue(journal)

    def run_back(self) -> bool:
        """Roll the last upgrade back: its migrations, then its code."""
        with self.file.locked():
            journal = self.file.read() or self.file.read(self.file.finished)
            if journal is None or (journal.step == "done" and journal.cause):
                raise UpgradeRefused("There is no upgrade to take back.")
            if journal.before == journal.after:
                raise UpgradeRefused(
                    "The last upgrade changed no code; check the previous code out yourself."
                )
            journal.processes = restarts.running(self.place.code) or journal.processes
            self.place.stage(journal.after)
            self._go_back(journal, "asked for by --back")
            return False

    # --- Forward ---------------------------------------------------------------------------------------

    def _begin(self) -> Journal | None:
        if changed := self.place.changed_files():
            raise UpgradeRefused(
                f"Files of the installation were changed ({', '.join(changed[:3])}): "
                "commit or undo that first."
            )
        before = self.place.commit()
        after = self.place.commit(self.options.target) if self.options.target else before
        processes = restarts.running(self.place.code)
        for process in processes:
            if not process.unit and (names := restarts.other_settings(process)):
                raise UpgradeRefused(
                    f"The portal runs with other settings than this command: {', '.join(names)}. "
                    "Run it with the same."
                )
        if before == after:
            self.say("The code is there already; its migrations are applied, and the portal is restarted.")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        journal = Journal(before, after, now, processes=processes)
        self.file.write(journal)
        return journal

    def _continue(self, journal: Journal) -> bool:
        if journal.cause:
            self._go_back(journal, journal.cause)
            return False
        steps: list[tuple[str, Callable[[Journal], None]]] = [
            ("backup", self._back_up),
            ("stage", self._stage),
            ("packages", self._install_packages),
            ("migrate", self._migrate),
            ("switch", self._switch),
            ("restart", self._restart),
        ]
        names = [name for name, _step in steps]
        for name, step in steps[names.index(journal.step) :]:
            journal.step = name
            self.file.write(journal)
            try:
                step(journal)
            except NotReady as error:
                self._go_back(journal, str(error))
                return False
            except UpgradeRefused as error:
                self._give_up(journal, error)
        journal.step = "done"
        self.file.close(journal)
        self.place.unstage()
        self.say(f"The portal runs {journal.after[:12]}.")
        return True

    def _give_up(self, journal: Journal, error: UpgradeRefused) -> None:
        """Abort after a failed step before the restart: the old code is still running and nothing is lost."""
        if journal.step in {"backup", "stage"}:
            self.file.path.unlink(missing_ok=True)
            self.place.unstage()
            raise UpgradeRefused(f"{error} Nothing was changed.") from error
        if journal.step in {"packages", "migrate", "switch"}:
            self._go_back(journal, str(error))
            raise UpgradeRefused(f"The upgrade was taken back: {error}") from error
        raise error

    def _back_up(self, journal: Journal) -> None:
        if self.options.without_backup:
            self.say("Without a backup, as asked for.")
            return
        folder = self.options.backups
        if not folder.exists():
            folder.mkdir(parents=True)
            os.chown(folder, self.place.owner or -1, self.place.group or -1)
        made = max(folder.glob("speechportal-*.backup"), key=lambda path: path.stat().st_mtime, default=None)
        hours = (time.time() - made.stat().st_mtime) / 3600 if made else 0.0
        if made is not None and hours <= self.options.oldest_backup:
            self.say(f"The backup {made} is {hours:.1f} hours old.")
        else:
            what = f"The newest is {hours:.0f} hours old" if made else f"None is in {folder}"
            self.say(f"Making a backup. {what}.")
            ran = self.place.manage("backup", str(folder))
            if ran.returncode:
                raise UpgradeRefused(f"No backup: {(ran.stderr.strip().splitlines() or ['?'])[-1]}")
            made = max(folder.glob("speechportal-*.backup"), key=lambda path: path.stat().st_mtime)
        journal.backup = str(made)

    def _stage(self, journal: Journal) -> None:
        self.place.stage(journal.after)
        journal.migrations = journal.migrations or self.place.applied()

    def _install_packages(self, journal: Journal) -> None:
        if self.options.packages and self.place.packages_differ(journal.before, journal.after):
            self.say("Installing the packages of the new code.")
            self.place.install_packages(staged=True)
        ran = self.place.manage("check", staged=True)
        if ran.returncode:
            raise UpgradeRefused(
                f"The new code does not start: {(ran.stderr.strip().splitlines() or ['?'])[-1]}"
            )

    def _migrate(self, _journal: Journal) -> None:
        self.say("Migrating, while the old code serves.")
        self.place.migrate()

    def _switch(self, journal: Journal) -> None:
        self.place.switch(journal.after)

    def _restart(self, journal: Journal) -> None:
        """Restart the web servers first, and recognition once they are ready with the new code."""
        if not journal.processes:
            self.say("Nothing of the portal runs on this machine; start it as usual.")
            return
        address = self.options.address or restarts.address_of(journal.processes)
        now: list[Process] = []
        for process in journal.processes:
            self.say(f"Restarting {process.unit or ' '.join(process.arguments[1:])}")
            restarts.stop(process)
            now.append(self._start(process, [*journal.processes, *now]))
            if address and restarts.serves_pages(process):
                restarts.await_ready(address, now, self.options.seconds)
        if address:
            restarts.await_ready(address, now, self.options.seconds)
        journal.processes = now

    def _start(self, process: Process, known: list[Process]) -> Process:
        """Start a process, unless an earlier attempt has: one that is running and not in ``known``."""
        environ = {**os.environ, "SPEECHPORTAL_DATA_DIR": str(self.place.data)}
        numbers = {each.pid for each in known}
        earlier = [each for each in restarts.running(self.place.code) if each.pid not in numbers]
        return restarts.start(process, earlier, self.place.data / "logs", environ)

    # --- Back ------------------------------------------------------------------------------------------

    def _go_back(self, journal: Journal, cause: str) -> None:
        """Roll back the migrations, then the code, and start the previous code."""
        if journal.before == journal.after:
            self.file.path.unlink(missing_ok=True)
            raise UpgradeRefused(
                f"{cause}. Which code served before is not known: check it out and run this again."
            )
        journal.cause = cause
        self.file.write(journal)
        self.say(f"Going back: {cause}.")
        restart = journal.step in {"restart", "done"}
        for process in restarts.running(self.place.code) if restart else []:
            restarts.stop(process)
        try:
            self.place.stage(journal.after)
            self.place.unmigrate(journal.migrations)
        except UpgradeRefused as error:
            raise UpgradeRefused(
                f"The database cannot be taken back: {error} Put {journal.before[:12]} in place and restore "
                f"{journal.backup or 'your backup'}, as the help page “Going back” says."
            ) from error
        self.place.switch(journal.before)
        if self.options.packages and self.place.packages_differ(journal.before, journal.after):
            self.place.install_packages(staged=False)
        if restart:
            now: list[Process] = []
            for process in journal.processes:
                now.append(self._start(process, now))
            journal.processes = now
            address = self.options.address or restarts.address_of(journal.processes)
            if address:
                try:
                    seconds = max(self.options.seconds, SECONDS_BACK)
                    restarts.await_ready(address, journal.processes, seconds)
                except NotReady as error:
                    raise UpgradeRefused(f"The previous code is not ready either: {error}.") from error
        journal.step = "done"
        self.file.close(journal)
        self.place.unstage()
        self.say(f"The portal runs {journal.before[:12]}, as before.")
