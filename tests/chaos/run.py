"""One chaos run: start everything, drop files, inject faults, wait until all work is done, and count."""

from __future__ import annotations

import argparse
import contextlib
import random
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from django.core.management import call_command
from django.db import connection
from django.db.utils import Error as DatabaseError

from batches.models import Batch
from batches.services import batches as batch_services
from domains.models import Domain
from speechportal.accounts.models import Account
from speechportal.platform.supervisor import NAMES, Supervisor
from speechportal.platform.supervisor import services as all_services
from speechportal.storage.embedded.swift import SwiftServer
from speechportal.storage.models import Connection
from speechportal.storage.providers import Provider
from tests.chaos import inputs, processes, verdict
from tests.chaos.database import Postgres, Sqlite
from tests.chaos.inputs import Input
from tests.chaos.killer import Killer
from tests.chaos.proxy import FaultyProxy
from tests.chaos.receiver import Receiver

BUCKET = "chaos"
ENOUGH = 100  # files, for each step to be come to as often as it is to be killed at
BATCHES = [("calls", ["json"], False), ("통화 talks", ["json", "srt"], True)]
CLUSTERS = [name for name in NAMES if name != "web"]


class Run:
    def __init__(
        self,
        options: argparse.Namespace,
        folder: Path,
        database: Sqlite | Postgres,
        fill_disk: Callable[[], None] | None,
    ) -> None:
        self.options, self.folder, self.database, self.fill_disk = options, folder, database, fill_disk
        self.rng = random.Random(f"run {options.seed}")
        self.dropped: dict[Batch, list[Input]] = {}
        self.started = time.monotonic()

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.started:6.1f} s  {text}", flush=True)

    def go(self, stack: ExitStack) -> int:
        options = self.options
        self.say(f"seed {options.seed}, {options.files} files, {options.database}")
        call_command("migrate", verbosity=0)
        swift = stack.enter_context(SwiftServer(self.folder / "swift"))
        swift.create_bucket("t1", BUCKET)
        proxy = stack.enter_context(FaultyProxy(swift.port, options.seed))
        receiver = stack.enter_context(Receiver(options.seed))
        truth = self._make_batches(swift, proxy, receiver.url)
        stop_clusters = self._start_clusters(stack)
        killer = Killer(
            self.folder,
            proxy,
            self.database,
            options.seed,
            at_steps=options.kills,
            pause=options.pause,
            patience=min(options.files // 10, 4),
            fill_disk=self.fill_disk,
            speakers=options.speakers,
        )
        killer.start()
        stack.callback(killer.stop)
        self._drop(truth, options.files)
        self._rain(killer, proxy)
        stuck = self._wait_for_rest()
        killer.stop()
        stop_clusters()
        judged = verdict.judge(self.dropped, truth.store(), receiver.accepted, self.folder / "work")
        if not options.rain and options.files >= ENOUGH:
            judged.faults += [f"not often enough killed at: {name}" for name in killer.left()]
        judged.faults += [f"stuck: {what}" for what in stuck]
        judged.faults += [f"a process was left: {one}" for one in processes.of_run(self.folder)]
        self._tell(proxy, killer, receiver, judged)
        return 1 if judged.faults else 0

    def _make_batches(self, swift: SwiftServer, proxy: FaultyProxy, url: str) -> Connection:
        """Create the batches; returns a connection to the server itself, without the proxy."""
        account = Account.objects.create(name="Chaos")
        connections = [self._connection(account, swift, port) for port in (proxy.port, swift.port)]
        for name, formats, speakers in BATCHES:
            domain = Domain.unscoped.create(account=account, name=name, code=f"d{len(self.dropped)}")
            batch = batch_services.create_batch(
                account=account,
                name=name,
                domain=domain,
                connection=connections[0],
                input_path=f"in/{name}",
                result_path=f"out/{name}",
                formats=formats,
                recognition={"language": "en-US", "speakers": speakers and self.options.speakers},
                webhook_url=url,
            )
            self.dropped[batch] = []
        return connections[1]

    def _connection(self, account: Account, swift: SwiftServer, port: int) -> Connection:
        made = Connection(
            account=account,
            name=f"Port {port}",
            provider=Provider.S3,
            parameters={
                "endpoint_url": f"http://127.0.0.1:{port}",
                "region": swift.region,
                "bucket": BUCKET,
                "access_key": swift.access_key("t1"),
            },
        )
        made.set_secret(swift.secret("t1"))
        made.full_clean()
        made.save()
        return made

    def _start_clusters(self, stack: ExitStack) -> Callable[[], None]:
        """Start the clusters; returns a function that stops them."""
        logs = self.folder / "log"
        logs.mkdir()
        supervisor = Supervisor(all_services("127.0.0.1:0", log_dir=logs, only=CLUSTERS))
        supervisor.start()
        keeper = threading.Thread(target=supervisor.wait, daemon=True)
        keeper.start()

        def stop() -> None:
            supervisor.stopped.set()
            keeper.join(30)
            supervisor.stop()

        stack.callback(stop)
        return stop

    def _drop(self, truth: Connection, count: int) -> None:
        """Drop the files in three waves, so that the first are done while others arrive."""
        store, batches = truth.store(), list(self.dropped)
        everything = inputs.make(count, self.rng)
        for number, one in enumerate(everything):
            batch = batches[number % len(batches)]
            store.put(f"{batch.input_path}{one.name}", one.data)
            self.dropped[batch].append(one)
            if number in {count // 3, 2 * count // 3}:
                time.sleep(min(5, count / 10))
        self.say(f"{count} files are dropped")

    def _rain(self, killer: Killer, proxy: FaultyProxy) -> None:
        """Inject faults until every step has been hit as often as planned, or nearly all work is done."""
        end = time.monotonic() + (self.options.rain or 60 * self.options.minutes * 0.6)
        while time.monotonic() < end and (self.options.rain or killer.left()):
            time.sleep(2)
            unfinished = self._unfinished()
            if unfinished is not None and not unfinished:
                break
        killer.resting.set()
        proxy.faulty = False
        self.say("the faults are over")

    def _unfinished(self) -> list[str] | None:
        try:
            return verdict.unfinished(self.options.files)
        except DatabaseError:
            with contextlib.suppress(DatabaseError):
                connection.close()
            return None  # The killer has crashed it.

    def _wait_for_rest(self) -> list[str]:
        end, told = self.started + 60 * self.options.minutes, 0.0
        left: list[str] | None = None
        while time.monotonic() < end:
            left = self._unfinished()
            if left == []:
                self.say("everything is at rest")
                return []
            if time.monotonic() - told > 15:
                self.say("; ".join(left or ["the database is away"]))
                told = time.monotonic()
            time.sleep(1)
        return left or ["the database is away"]

    def _tell(self, proxy: FaultyProxy, killer: Killer, receiver: Receiver, judged: verdict.Verdict) -> None:
        self.say(f"{proxy.requests} requests; injected:")
        for name, count in sorted({**proxy.injected, **killer.done}.items()):
            print(f"    {count:5}  {name}")
        print(f"    {receiver.refused:5}  messages refused by the receiver")
        if killer.left():
            print(f"    not often enough killed at: {', '.join(killer.left())}")
        if self.fill_disk is None:
            print("    no disk was filled: this user may not mount one")
        self.say("counted:")
        for name, count in sorted(judged.counted.items()):
            print(f"    {count:5}  {name}")
        for fault in judged.faults[:50]:
            print(f"WRONG: {fault}")
        print(
            "Nothing is lost, nothing is doubled." if not judged.faults else f"{len(judged.faults)} faults."
        )
