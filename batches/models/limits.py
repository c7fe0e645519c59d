"""Database triggers for rules that span two tables.

A check constraint sees one row; "ten batches per account" and "none on a Free domain" need two tables, and
must hold for concurrent requests and for any code that writes rows. On PostgreSQL the trigger locks the
account's row first, so that the second of two inserts counts the first; SQLite has one writer anyway.

The sums of an account's settled charges (:mod:`batches.billing.settled`) are void when a charge from before
their end is inserted, by a host whose clock is late, or deleted, which only an operator does, by SQL.

They are dropped before every ``migrate`` and installed after it rather than in a migration: SQLite drops a
table's triggers whenever a migration rebuilds the table, and cannot rebuild a table to which a trigger of
another table refers.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, connections
from django.utils.translation import gettext_lazy as _

# Part of the database's message -> the rule's code and the sentence for members.
RULES = [
    (
        "batch_limit",
        "batch_limit",
        _("The account has as many batches as it may have. Delete one, or ask support for more."),
    ),
    ("batch_on_free_domain", "batch_on_free_domain", _("A Free domain cannot have a batch.")),
    ("batch_name_unique", "batch_name_unique", _("A batch with this name already exists.")),
    ("batches_batch.name", "batch_name_unique", _("A batch with this name already exists.")),
    (
        "batch_takes_requests_unique",
        "batch_takes_requests_unique",
        _("Another batch takes the requests that name none."),
    ),
    ("batches_batch.domain_id", "batch_domain_taken", _("The domain already has a batch.")),
    ("batches_batch_domain_id", "batch_domain_taken", _("The domain already has a batch.")),
    # SQLite names the columns of a unique constraint; that of names, above, has this column too.
    (
        "batches_batch.account_id",
        "batch_takes_requests_unique",
        _("Another batch takes the requests that name none."),
    ),
]

SQLITE = {
    "batch_limit": (
        "BEFORE INSERT ON batches_batch WHEN NEW.deleted_at IS NULL BEGIN"
        " SELECT RAISE(ABORT, 'batch_limit') WHERE"
        " (SELECT count(*) FROM batches_batch WHERE account_id = NEW.account_id AND deleted_at IS NULL)"
        " >= (SELECT batch_limit FROM accounts_account WHERE id = NEW.account_id); END"
    ),
    "batch_on_free_domain_insert": (
        "BEFORE INSERT ON batches_batch BEGIN SELECT RAISE(ABORT, 'batch_on_free_domain')"
        " WHERE (SELECT plan FROM domains_domain WHERE id = NEW.domain_id) = 'free'; END"
    ),
    "batch_on_free_domain_update": (
        "BEFORE UPDATE OF domain_id ON batches_batch BEGIN SELECT RAISE(ABORT, 'batch_on_free_domain')"
        " WHERE (SELECT plan FROM domains_domain WHERE id = NEW.domain_id) = 'free'; END"
    ),
    "domain_free_with_batch": (
        "BEFORE UPDATE OF plan ON domains_domain WHEN NEW.plan = 'free' BEGIN"
        " SELECT RAISE(ABORT, 'batch_on_free_domain')"
        " WHERE EXISTS (SELECT 1 FROM batches_batch WHERE domain_id = NEW.id); END"
    ),
    "charge_no_update": (
        "BEFORE UPDATE ON batches_charge BEGIN SELECT RAISE(ABORT, 'charge_immutable'); END"
    ),
    "charge_late": (
        "AFTER INSERT ON batches_charge BEGIN DELETE FROM batches_usagemark"
        " WHERE account_id = NEW.account_id AND until > NEW.created_at; END"
    ),
    "charge_deleted": (
        "AFTER DELETE ON batches_charge BEGIN"
        " DELETE FROM batches_usagemark WHERE account_id = OLD.account_id; END"
    ),
    "adjustment_no_update": (
        "BEFORE UPDATE ON batches_adjustment BEGIN SELECT RAISE(ABORT, 'charge_immutable'); END"
    ),
}

POSTGRESQL = """
CREATE OR REPLACE FUNCTION speechportal_batch_rules() RETURNS trigger AS $$
DECLARE allowed integer;
BEGIN
    IF TG_OP = 'INSERT' AND NEW.deleted_at IS NULL THEN
        SELECT batch_limit INTO allowed FROM accounts_account WHERE id = NEW.account_id FOR NO KEY UPDATE;
        IF (SELECT count(*) FROM batches_batch
            WHERE account_id = NEW.account_id AND deleted_at IS NULL) >= allowed THEN
            RAISE EXCEPTION 'batch_limit' USING ERRCODE = 'check_violation', CONSTRAINT = 'batch_limit';
        END IF;
    END IF;
    IF NEW.domain_id IS NOT NULL AND
        (SELECT plan FROM domains_domain WHERE id = NEW.domain_id FOR SHARE) = 'free' THEN
        RAISE EXCEPTION 'batch_on_free_domain'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'batch_on_free_domain';
    END IF;
    RETURN NEW;
END $$ LANGUAGE plpgsql;
CREATE OR REPLACE FUNCTION speechportal_domain_rules() RETURNS trigger AS $$
BEGIN
    IF NEW.plan = 'free' AND EXISTS (SELECT 1 FROM batches_batch WHERE domain_id = NEW.id) THEN
        RAISE EXCEPTION 'batch_on_free_domain'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'batch_on_free_domain';
    END IF;
    RETURN NEW;
END $$ LANGUAGE plpgsql;
CREATE OR REPLACE FUNCTION speechportal_charge_immutable() RETURNS trigger AS $$
BEGIN
    RAISE EXCEPTION 'charge_immutable' USING ERRCODE = 'check_violation', CONSTRAINT = 'charge_immutable';
END $$ LANGUAGE plpgsql;
CREATE OR REPLACE FUNCTION speechportal_charge_late() RETURNS trigger AS $$
BEGIN
    DELETE FROM batches_usagemark WHERE account_id = NEW.account_id AND until > NEW.created_at;
    RETURN NULL;
END $$ LANGUAGE plpgsql;
CREATE OR REPLACE TRIGGER speechportal_charge_late AFTER INSERT ON batches_charge
    FOR EACH ROW EXECUTE FUNCTION speechportal_charge_late();
CREATE OR REPLACE FUNCTION speechportal_charge_deleted() RETURNS trigger AS $$
BEGIN
    DELETE FROM batches_usagemark WHERE account_id = OLD.account_id;
    RETURN NULL;
END $$ LANGUAGE plpgsql;
CREATE OR REPLACE TRIGGER speechportal_charge_deleted AFTER DELETE ON batches_charge
    FOR EACH ROW EXECUTE FUNCTION speechportal_charge_deleted();
CREATE OR REPLACE TRIGGER speechportal_batch_rules_insert BEFORE INSERT ON batches_batch
    FOR EACH ROW EXECUTE FUNCTION speechportal_batch_rules();
CREATE OR REPLACE TRIGGER speechportal_batch_rules_update BEFORE UPDATE OF domain_id ON batches_batch
    FOR EACH ROW EXECUTE FUNCTION speechportal_batch_rules();
CREATE OR REPLACE TRIGGER speechportal_domain_rules BEFORE UPDATE OF plan ON domains_domain
    FOR EACH ROW EXECUTE FUNCTION speechportal_domain_rules();
CREATE OR REPLACE TRIGGER speechportal_charge_immutable BEFORE UPDATE ON batches_charge
    FOR EACH ROW EXECUTE FUNCTION speechportal_charge_immutable();
CREATE OR REPLACE TRIGGER speechportal_adjustment_immutable BEFORE UPDATE ON batches_adjustment
    FOR EACH ROW EXECUTE FUNCTION speechportal_charge_immutable();
"""

TABLES = {
    *("accounts_account", "domains_domain", "batches_batch", "batches_charge", "batches_adjustment"),
    "batches_usagemark",
}


def install_triggers(using: str = "default", **_kwargs: Any) -> None:
    """Create or replace the triggers (``post_migrate``)."""
    connection = connections[using]
    if not set(connection.introspection.table_names()) >= TABLES:
        return  # A partial migration: the next one ends with this again.
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            for name, body in SQLITE.items():
                cursor.execute(f"DROP TRIGGER IF EXISTS speechportal_{name}")
                cursor.execute(f"CREATE TRIGGER speechportal_{name} {body}")
        elif connection.vendor == "postgresql":
            cursor.execute(POSTGRESQL)


def remove_triggers(using: str = "default", **_kwargs: Any) -> None:
    """Drop SQLite's triggers (``pre_migrate``)."""
    connection = connections[using]
    if connection.vendor != "sqlite":
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'speechportal_%'")
        for (name,) in cursor.fetchall():
            cursor.execute(f'DROP TRIGGER "{name}"')


def as_validation_error(error: IntegrityError) -> ValidationError:
    """Translate a violated database rule to its sentence, for requests that raced past the form's check."""
    for needle, code, sentence in RULES:
        if needle in str(error):
            return ValidationError(sentence, code=code)
    raise error
