"""The batch of each search text, filled in pieces, so that no worker waits for long."""

import django.db.models.deletion
from django.db import migrations, models

PIECE = 5000  # rows of a transaction
FILL = (
    "UPDATE batches_searchtext SET batch_id ="
    " (SELECT batch_id FROM batches_task WHERE batches_task.id = batches_searchtext.task_id)"
    " WHERE id >= %s AND id < %s AND batch_id IS NULL"
)


def fill(apps, schema_editor):
    newest = (
        apps.get_model("batches", "SearchText")
        ._base_manager.order_by("-pk")
        .values_list("pk", flat=True)
        .first()
    )
    with schema_editor.connection.cursor() as cursor:
        for start in range(0, (newest or 0) + 1, PIECE):
            cursor.execute(FILL, [start, start + PIECE])


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("batches", "0008_settled_usage")]

    operations = [
        migrations.AddField(
            model_name="searchtext",
            name="batch",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="batches.batch",
            ),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
