"""Filling: a year of an installation's rows, made inside PostgreSQL.

One account is large: its first batch has a tenth of all tasks, found in the last 26 days (of 10 million tasks
38,000 a day). All other batches share the rest evenly over a year. Rows lie in the order of time, as they do
in real life: those of a batch are spread over the whole table. Two tasks in a thousand wait, one in fifty has
failed. What retention prunes is there for its days only: transcripts for 18, logs for 30.
"""

# ruff: noqa: E501, S608 - SQL, of names and numbers of its own

from __future__ import annotations

import time
from typing import Any

BATCHES = 4  # of each account
TRANSCRIPT_DAYS, LOG_DAYS = 18, 30
LARGE_DAYS = 26  # over which the tasks of the large batch are spread
TABLES = (
    "batches_executionresult",
    "batches_task",
    "batches_charge",
    "batches_resultfile",
    "batches_delivery",
    "batches_deliveryattempt",
    "batches_storedtranscript",
    "batches_searchtext",
    "accounts_auditentry",
)
LINES = 3  # of each transcript
WORDS = "the|of|and|yes|order|number|please|customer|delivery|morning"  # the frequent ones


def fill(tasks: int, accounts: int) -> None:
    """Insert accounts with batches, then the rows of all tables."""
    from django.db import connection

    started = time.perf_counter()
    batches = _accounts_with_batches(accounts)
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # Neither limits nor triggers are measured.
        cursor.execute("SET maintenance_work_mem = '1GB'; SET work_mem = '256MB'")
        # Without indexes meanwhile: they are rebuilt below, as REINDEX would.
        cursor.execute(
            "UPDATE pg_index SET indisready = false, indisvalid = false WHERE indrelid = ANY(%s::regclass[])"
            " AND NOT indisprimary",
            [list(TABLES)],
        )
        for statement, values in _statements(tasks, [batch.pk for batch in batches]):
            cursor.execute(statement, values)
        for table in TABLES:
            cursor.execute(f"REINDEX TABLE {table}")
        cursor.execute("SET session_replication_role = DEFAULT; RESET work_mem")
        cursor.execute(
            "UPDATE batches_batch SET last_task_order = found.n FROM"
            " (SELECT batch_id, max(task_order) n FROM batches_task GROUP BY 1) found"
            " WHERE batch_id = batches_batch.id"
        )
        cursor.execute("VACUUM (ANALYZE, PARALLEL 2)")
    print(
        f"{tasks:,} tasks of {accounts:,} accounts, made in {time.perf_counter() - started:.0f} s", flush=True
    )


def _accounts_with_batches(accounts: int) -> list[Any]:
    from tests.factories import make_account, make_batch

    found = []
    for number in range(accounts):
        # The large account has a budget, which each claim looks at.
        account = make_account(
            price_per_file="0.10",
            transcript_days=TRANSCRIPT_DAYS,
            log_days=LOG_DAYS,
            monthly_budget=None if number else "1000000",
        )
        found += [make_batch(account) for _ in range(BATCHES)]
    return found


def _statements(tasks: int, batches: list[int]) -> list[tuple[str, list[Any]]]:
    """SQL that inserts the rows, with its values."""
    large, (first, *others) = tasks // 10, batches
    each = (tasks - large) // len(others)
    return [
        (
            (
                "CREATE TEMP TABLE growth_row AS SELECT *, row_number() OVER (ORDER BY at, batch_id) AS row FROM ("
                " SELECT %s::bigint AS batch_id, number, %s AS last,"
                f" now() - (%s - number) * interval '{LARGE_DAYS} days' / %s AS at"
                " FROM generate_series(1, %s) number UNION ALL"
                " SELECT id, number, %s,"
                " now() - (%s - number) * interval '365 days' / %s - id * interval '1 second'"
                " FROM unnest(%s::bigint[]) id, generate_series(1, %s) number) found"
            ),
            [first, large, large, large, large, each, each, each, others, each],
        ),
        (
            (
                "INSERT INTO batches_executionresult (uid, account_id, batch_id, connection_id, number,"
                " task_count, key, attempts, created_at, written_at)"
                " SELECT 'exr_' || row, account_id, batch_id, connection_id, number / 10, 10, 'out/execution-' || row || '.csv', 1, at, at"
                " FROM growth_row JOIN batches_batch ON batches_batch.id = batch_id"
                " WHERE number %% 10 = 0 AND number < last - last / 500 - 10 ORDER BY row"
            ),
            [],
        ),
        _tasks(first),
        (
            (
                "INSERT INTO batches_charge (uid, account_id, batch_id, task_id, batch_name, domain_code,"
                " whisper_model, speaker_model, input_name, media_duration, amount, currency,"
                " created_at) SELECT 'chg_' || id, account_id, batch_id, id, 'batch', 'calls', 'base', 'senko', name,"
                " media_duration, 0.1, 'USD', finished_at FROM batches_task WHERE state = 'completed' ORDER BY id"
            ),
            [],
        ),
        (
            (
                "INSERT INTO batches_resultfile (task_id, format, connection_id, key, size, version, written_at)"
                " SELECT id, 'txt', connection_id, 'out/' || batch_id || name || '.txt', 900, '1', finished_at"
                " FROM batches_task WHERE state = 'completed' ORDER BY id"
            ),
            [],
        ),
        (
            (
                "INSERT INTO batches_delivery (uid, account_id, batch_id, task_id, kind, event, address, about,"
                " occurrence, payload, state, attempts, tries, next_attempt_at, last_status, last_error,"
                " created_at, ended_at, acknowledgement) SELECT 'dlv_' || id, account_id, batch_id, id, 'webhook',"
                " 'task.completed', '', uid, '1', repeat('{\"task\": \"' || uid || '\"}', 20),"
                " CASE WHEN id %% 1000 = 0 THEN 'failed' ELSE 'delivered' END, 1, 1, finished_at, 204, '',"
                f" finished_at, finished_at, '' FROM batches_task WHERE state = 'completed'"
                f" AND finished_at > now() - interval '{LOG_DAYS} days' ORDER BY id"
            ),
            [],
        ),
        (
            (
                "INSERT INTO batches_deliveryattempt (delivery_id, number, started_at, duration, status,"
                " error_code, error, answer) SELECT id, 1, ended_at, 20, 204, '', '', '' FROM batches_delivery ORDER BY id"
            ),
            [],
        ),
        (
            (
                "INSERT INTO accounts_auditentry (uid, account_id, created_at, actor_kind, actor_label, request_id,"
                " action, target_kind, target_id, target_uid, target_name, part_of, changes,"
                " reason) SELECT 'aud_' || t.id, t.account_id, t.finished_at, 'user', 'alice@example.com', '',"
                " 'batches.task.changed', 'batches.task', t.id, t.uid, t.name, batch.uid, '{}', ''"
                " FROM batches_task t JOIN batches_batch batch ON batch.id = batch_id WHERE t.state <> 'waiting'"
                f" AND t.id %% 10 = 0 AND t.finished_at > now() - interval '{LOG_DAYS} days' ORDER BY t.id"
            ),
            [],
        ),
        *_transcripts(),
    ]


def _tasks(first: int) -> tuple[str, list[Any]]:
    from batches.models import Batch, Task
    from tests.factories import make_task

    batch = Batch.unscoped.get(pk=first)
    model = make_task(batch, "0.mp3", state=Task.State.COMPLETED, media_duration=60_000)
    columns = [str(field.column) for field in Task._meta.concrete_fields if field.column != "id"]
    waits = "rows.number > rows.last - rows.last / 500"
    failed = "rows.number %% 50 = 1"
    mixed = "(('x' || substr(md5(rows.row::text), 1, 7))::bit(28)::int)"  # an even and unordered number
    path = "calls/' || substr(md5(rows.row::text), 1, 12) || '-' || rows.number || '.mp3'"
    values = {
        "uid": "'tsk_' || rows.row",
        "account_id": "batch.account_id",
        "batch_id": "batch.id",
        "connection_id": "batch.connection_id",
        "execution_result_id": "result.id",
        "task_order": "rows.number + 1",
        "input_key": f"'in/{path}",
        "input_version": "'1'",
        "input_size": f"100000 + {mixed} %% 10000000",
        "input_modified_at": "at",
        "name": f"'{path}",
        "state": f"CASE WHEN {waits} THEN 'waiting' WHEN {failed} THEN 'failed'"
        " WHEN rows.number %% 200 = 2 THEN 'cancelled' ELSE 'completed' END",
        "media_duration": f"CASE WHEN {waits} OR {failed} THEN NULL ELSE 20000 + {mixed} %% 900000 END",
        "whisper_model": f"CASE WHEN {waits} THEN '' ELSE 'base' END",
        "worker": f"CASE WHEN {waits} THEN '' ELSE 'host-' || rows.row %% 100 || ':1' END",
        "settings": f"CASE WHEN {waits} THEN NULL ELSE model.settings END",
        "started_at": f"CASE WHEN {waits} THEN NULL ELSE at + interval '20 seconds' END",
        "finished_at": f"CASE WHEN {waits} THEN NULL ELSE at + interval '1 minute' END",
        "error_code": f"CASE WHEN NOT {waits} AND {failed} THEN 'not_media' ELSE '' END",
        "created_at": "at",
        "available_at": "at",
    }
    selected = ", ".join(values.get(column, f"model.{column}") for column in columns)
    return (
        (
            f"INSERT INTO batches_task ({', '.join(columns)}) SELECT {selected}"
            " FROM growth_row rows JOIN batches_batch batch ON batch.id = rows.batch_id"
            " JOIN batches_task model ON model.id = %s LEFT JOIN batches_executionresult result"
            f" ON result.batch_id = rows.batch_id AND result.number = (rows.number + 9) / 10 AND NOT {waits}"
            " ORDER BY rows.row"
        ),
        [model.pk],
    )


def _transcripts() -> list[tuple[str, list[Any]]]:
    """A few lines of frequent and rare words for each task that ended within the retention period."""
    kept = f"state = 'completed' AND finished_at > now() - interval '{TRANSCRIPT_DAYS} days'"
    lines = " ".join(
        f"JOIN growth_line l{number} ON l{number}.number = (t.id * {prime}) %% 5000"
        for number, prime in enumerate((7, 11, 13)[:LINES])
    )
    texts = " || E'\\n' || ".join(f"l{number}.text" for number in range(LINES))
    listed = ", ".join(f"json_build_array('{n}', {n}000, '1', l{n}.text)" for n in range(LINES))
    document = '{"language": "en", "segments": [], "speakers": ["1"], "version": 1}'
    return [
        (
            (
                "CREATE TEMP TABLE growth_line AS SELECT line AS number, string_agg(CASE WHEN random() < 0.5"
                " THEN (string_to_array(%s, '|'))[1 + floor(10 * random() ^ 2)] ELSE"
                " substr(md5(floor(20000 * random() ^ 2)::text), 1, 6) END, ' ') AS text"
                " FROM generate_series(0, 4999) line, generate_series(1, 8) GROUP BY line"
            ),
            [WORDS],
        ),
        (
            (
                "INSERT INTO batches_storedtranscript (task_id, stage, document, original, created_at,"
                " updated_at) SELECT id, 'speakers', %s, '', finished_at, finished_at"
                f" FROM batches_task WHERE {kept} ORDER BY id"
            ),
            [document],
        ),
        (
            (
                "INSERT INTO batches_searchtext (task_id, account_id, batch_id, text, language, domain_code,"
                " spoken, lines, speakers, flags) SELECT t.id, t.account_id, t.batch_id,"
                f" t.name || E'\\n' || {texts},"
                " CASE WHEN t.id %% 20 = 0 THEN 'ko' ELSE 'en' END, 'calls', '',"
                f" json_build_array({listed}), 1 + t.id %% 3,"
                " CASE WHEN t.id %% 50 = 0 THEN ',low_confidence,' ELSE '' END"
                f" FROM batches_task t {lines} WHERE {kept} ORDER BY t.id"
            ),
            [],
        ),
    ]


def sizes() -> dict[str, tuple[int, int]]:
    """Bytes with indexes, and rows, of each large table."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, pg_total_relation_size(oid), reltuples::bigint FROM pg_class"
            " WHERE relname = ANY(%s) ORDER BY 2 DESC",
            [list(TABLES)],
        )
        return {name: (size, rows) for name, size, rows in cursor.fetchall()}
