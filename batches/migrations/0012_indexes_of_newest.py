"""The indexes that stand in for those of foreign keys, built while others write."""

from django.db import migrations, models

from speechportal.indexes_under_load import AddIndexUnderLoad


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("batches", "0011_spelt_korean"),
    ]

    operations = [
        AddIndexUnderLoad(
            model_name="charge",
            index=models.Index(fields=["account", "-id"], name="charge_newest_of_account"),
        ),
        AddIndexUnderLoad(
            model_name="charge",
            index=models.Index(fields=["batch", "-id"], name="charge_newest_of_batch"),
        ),
        AddIndexUnderLoad(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("state", "delivered"), _negated=True),
                fields=["state", "-id"],
                name="delivery_by_state",
            ),
        ),
        AddIndexUnderLoad(
            model_name="task",
            index=models.Index(fields=["account", "-id"], name="task_of_account"),
        ),
    ]
