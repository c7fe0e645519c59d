"""A batch's tasks in one state by their ID, as the API pages through them, from an index."""

from django.db import migrations, models

from speechportal.indexes_under_load import AddIndexUnderLoad


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("batches", "0014_tasks_of_batch_by_state"),
    ]

    operations = [
        AddIndexUnderLoad(
            model_name="task",
            index=models.Index(fields=["batch", "state", "-id"], name="task_of_batch_by_state_and_id"),
        ),
    ]
