"""``python -m tests.bench_search``: the search over thousands of transcripts, Korean and English.

Runs on the database of ``SPEECHPORTAL_DATABASE_URL``, or on a SQLite file of its own, as
``tests.bench_scale``: ``.ci/with-postgres .venv/bin/python -m tests.bench_search`` measures PostgreSQL. Words
are drawn from made-up vocabularies by Zipf's law, so that the first ones stand in nearly every line. Measures
the search's page as a member opens it. Ends with status 1 when a promise is broken.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
from functools import partial
from itertools import accumulate
from typing import Any

from tests.bench_scale import Bench, seconds

WORDS = {
    "ko": ["네", "그", "고객님", "상품이", "주문", "배송", "확인", "감사합니다", "번호를", "잠시만"],
    "en": ["yes", "the", "customer", "order", "number", "thank", "delivery", "please", "moment", "address"],
}
QUERIES = [
    "네",
    "고객님",
    "상품",
    "고객님 주문",
    '"네 그"',
    "the",
    "order",
    "order number",
    '"yes the"',
    "네 -희귀한낱말",
]
RARE = ["희귀한낱말", "unheardof"]
LINE = 12  # words
PROMISE = 0.8  # s of a page
SEARCHER = "search@example.com"  # Whose account is there already, is measured as it is.


def vocabulary(language: str, size: int = 4000) -> list[str]:
    """Vocabulary: frequent words first, then invented ones."""
    made = random.Random(language)
    letters = (
        [chr(0xAC00 + made.randrange(11172)) for _ in range(300)]
        if language == "ko"
        else list("aeioubcdklmnprst")
    )
    longest = 3 if language == "ko" else 8
    rest = ("".join(made.choices(letters, k=made.randint(2, longest))) for _ in range(size))
    return [*WORDS[language], *rest]


class SearchBench(Bench):
    def fill_transcripts(self, account: Any, count: int, minutes: int) -> None:
        """Insert transcripts: each with its own text in the index, and a copied document per language."""
        from django.db import connection

        from batches.models import SearchText, StoredTranscript, Task
        from batches.recognition.transcript import Segment, Transcript, Word
        from batches.transcripts.search_query import fold, spell
        from tests.factories import make_batch, make_task

        batch, lines = make_batch(account, name="calls"), minutes * 11
        tasks = [make_task(batch, f"call-{number}.mp3", state="completed") for number in range(count)]
        chosen = random.Random(7)
        for at, language in enumerate(WORDS):
            words = vocabulary(language)
            weights = list(accumulate(1 / (rank + 1) for rank in range(len(words))))
            own = tasks[at :: len(WORDS)]
            for start in range(0, len(own), 100):
                rows = []
                for task in own[start : start + 100]:
                    heard = chosen.choices(words, cum_weights=weights, k=lines * LINE)
                    text = [" ".join(heard[line * LINE : (line + 1) * LINE]) for line in range(lines)]
                    if task is own[len(own) // 2]:
                        text[5] += f" {RARE[at]}"
                    if task is own[0]:
                        first = text
                    spelt = "\n".join(spell(fold(each)) for each in [task.name, *text])
                    rows.append(SearchText(task=task, account=account, text=spelt, language=language))
                SearchText.unscoped.bulk_create(rows)
            segments = []
            for line, text_line in enumerate(first):
                begin = 5500 * line
                spoken = [
                    Word(begin + 400 * place, begin + 400 * place + 390, f" {word}", 0.9, "1")
                    for place, word in enumerate(text_line.split())
                ]
                segments.append(Segment(begin, begin + 5000, text_line, spoken, 0.9, "1"))
            document = Transcript(language, 1.0, 5500 * lines, segments, ["1"]).to_dict()
            StoredTranscript.unscoped.bulk_create(
                [StoredTranscript(task=own[0], stage="speakers", document=document)]
            )
            listed = [[str(place), 5500 * place, "1", line] for place, line in enumerate(first)]
            SearchText.unscoped.filter(task__in=own).update(lines=listed, speakers=1)
            table, keys = StoredTranscript._meta.db_table, Task._meta.db_table
            with connection.cursor() as cursor:
                cursor.execute(
                    f"INSERT INTO {table} (task_id, stage, document, original, created_at, updated_at)"  # noqa: S608 - names of tables
                    " SELECT t.id, 'speakers', s.document, '', s.created_at, s.updated_at"
                    f" FROM {keys} t, {table} s"
                    " WHERE s.task_id = %s AND t.batch_id = %s AND t.id %% 2 = %s AND t.id <> %s",
                    [own[0].pk, batch.pk, own[0].pk % 2, own[0].pk],
                )
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")

    def measure(self, count: int, minutes: int, explain: bool) -> None:
        from batches.transcripts import search
        from speechportal.accounts.models import User
        from tests.clients import Client
        from tests.factories import make_account, make_user

        print(f"{count:,} transcripts of {minutes} minutes", flush=True)
        user = User.objects.filter(email=SEARCHER).first()
        if user is None:
            user = make_user(SEARCHER)
            account = make_account("Search", user)
            made = seconds(partial(self.fill_transcripts, account, count, minutes))
            print(f"    made in {made:.0f} s", flush=True)
        account = user.memberships.get().account
        client = Client(headers={"host": "localhost"})
        client.force_login(user)
        for query in [*QUERIES, *RARE]:
            if explain:
                print(search.matching(account, query).order_by("-pk").explain(analyze=True))
            times = []
            for _ in range(self.rounds):
                found: list[Any] = []
                open_page = partial(client.get, "/transcripts/", {"q": query})
                times.append(seconds(lambda: found.append(open_page())))  # noqa: B023 - called at once
                assert found[0].status_code == 200, found[0].status_code
            files = found[0].content.count(b"<h2>")
            self.promise(files > 0, f"{query}: {files} files on the page")
            once = statistics.median(times)
            self.promise(once < PROMISE, f"{query}: {1000 * once:.0f} ms ({1000 * PROMISE:.0f} at most)")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench_search", description=__doc__)
    parser.add_argument("--transcripts", type=int, default=3000)
    parser.add_argument("--minutes", type=int, default=30, help="of speech in each")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--explain", action="store_true", help="print how the database reads")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="speechportal-search-") as folder:
        os.environ["SPEECHPORTAL_DATA_DIR"] = folder
        os.environ["SPEECHPORTAL_LOG_LEVEL"] = "ERROR"
        os.environ["DJANGO_SETTINGS_MODULE"] = "speechportal.settings"
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        bench = SearchBench(0, options.rounds)
        bench.measure(options.transcripts, options.minutes, options.explain)
    return 1 if bench.broken else 0


if __name__ == "__main__":
    sys.exit(main())
