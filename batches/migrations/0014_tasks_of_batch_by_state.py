"""A batch's tasks in one state, newest first, from an index; it serves what the shorter one did."""

from django.db import migrations, models

from speechportal.indexes_under_load import AddIndexUnderLoad


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("batches", "0013_search_cost"),
    ]

    operations = [
        AddIndexUnderLoad(
            model_name="task",
            index=models.Index(fields=["batch", "state", "-task_order"], name="task_of_batch_by_state"),
        ),
        migrations.RemoveIndex(model_name="task", name="task_state"),
    ]
