"""Indexes for a batch's tasks by each column of their list, for claims and for Home."""

from django.db import migrations, models

from speechportal.platform.concurrent_indexes import AddIndexConcurrently, RemoveIndexConcurrently

TASKS = {
    "task_of_batch_by_name": ["batch", "name", "id"],
    "task_of_batch_by_duration": ["batch", "media_duration", "id"],
    "task_of_batch_by_size": ["batch", "input_size", "id"],
    "task_of_batch_by_model": ["batch", "whisper_model", "id"],
    "task_of_batch_by_speakers": ["batch", "speaker_model"],
    "task_of_batch_by_start": ["batch", "started_at", "id"],
    "task_of_batch_by_end": ["batch", "finished_at", "id"],
}
SEARCH_TEXTS = {
    "search_text_of_batch_language": ["batch", "language", "task"],
    "search_text_of_batch_speakers": ["batch", "speakers", "task"],
    "search_text_of_batch_flags": ["batch", "flags", "task"],
}


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("batches", "0009_search_text_batch")]

    operations = [
        AddIndexConcurrently(
            "task",
            models.Index(fields=["batch", "state", "id"], include=["account"], name="task_of_batch_in_state"),
        ),
        AddIndexConcurrently(
            "task",
            models.Index(
                fields=["account"], condition=models.Q(state="waiting"), name="task_waiting_of_account"
            ),
        ),
        AddIndexConcurrently(
            "task",
            models.Index(
                fields=["account", "finished_at"],
                condition=models.Q(state="failed"),
                name="task_failed_of_account",
            ),
        ),
        *(
            AddIndexConcurrently("task", models.Index(fields=fields, name=name))
            for name, fields in TASKS.items()
        ),
        *(
            AddIndexConcurrently("searchtext", models.Index(fields=fields, name=name))
            for name, fields in SEARCH_TEXTS.items()
        ),
        # The index in_state does the same, read from its end.
        RemoveIndexConcurrently("task", "task_of_batch_by_state_and_id"),
    ]
