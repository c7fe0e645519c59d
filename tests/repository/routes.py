"""Access table: for each route of the portal, the visitors who may open it.

``tests/repository/test_routes.py`` walks the URLconf and fails for a route without a row here. Add the row
with the route; its guard says what the four kinds of visitors get.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Guard(Enum):
    OPEN = "anybody"
    SIGNED_IN = "anybody who is signed in; shows or changes only what is theirs"
    MEMBER = "members of the account, viewers too"
    MANAGER = "owners and managers of the account"
    OWNER = "owners of the account"
    STAFF = "support staff"
    TOKEN = "programs with a token of the account"
    SIGNED = "whoever holds the signed, expiring link"


@dataclass(frozen=True)
class Route:
    guard: Guard
    method: str = "GET"
    # Names of the URL's arguments -> what of Alice's stands for them (see ``world`` in the test).
    kwargs: dict[str, str] = field(default_factory=dict)


BATCH = {"uid": "batch"}
TASK = {"uid": "batch", "task_uid": "task"}
DOMAIN = {"uid": "domain"}
CONNECTION = {"uid": "connection"}
DELIVERY = {"uid": "batch", "delivery_uid": "delivery"}

ROUTES: dict[str, Route] = {
    "home": Route(Guard.MEMBER),
    "login": Route(Guard.OPEN),
    "logout": Route(Guard.OPEN, "POST"),
    "company_sign_in": Route(Guard.OPEN),
    "company_sign_in_callback": Route(Guard.OPEN),
    "company_sign_in_to": Route(Guard.OPEN, kwargs={"account": "token"}),
    "company_sign_in_find": Route(Guard.OPEN),
    "company_sign_in_connect": Route(Guard.SIGNED_IN),
    "account_provider": Route(Guard.OWNER),
    "password_reset": Route(Guard.OPEN),
    "password_reset_confirm": Route(Guard.OPEN, kwargs={"uidb64": "token", "token": "token"}),
    "set_language": Route(Guard.OPEN, "POST"),
    "switch_account": Route(Guard.SIGNED_IN, "POST"),
    "profile": Route(Guard.SIGNED_IN),
    "send_again": Route(Guard.SIGNED_IN),
    "send_verification": Route(Guard.SIGNED_IN, "POST"),
    "verify_address": Route(Guard.SIGNED_IN, kwargs={"token": "token"}),
    "password": Route(Guard.SIGNED_IN),
    "second_factor": Route(Guard.SIGNED_IN),
    "security": Route(Guard.SIGNED_IN),
    "passkey_sign_in": Route(Guard.OPEN, "POST"),
    "passkey_options": Route(Guard.OPEN, "POST"),
    "passkey_add": Route(Guard.SIGNED_IN),
    "passkey_add_options": Route(Guard.SIGNED_IN, "POST"),
    "passkey_rename": Route(Guard.SIGNED_IN, kwargs={"pk": "bob"}),
    "passkey_remove": Route(Guard.SIGNED_IN, kwargs={"pk": "bob"}),
    "two_factor_on": Route(Guard.SIGNED_IN),
    "two_factor_off": Route(Guard.SIGNED_IN),
    "recovery_codes": Route(Guard.SIGNED_IN),
    "end_sessions": Route(Guard.SIGNED_IN, "POST"),
    "account_activity": Route(Guard.MEMBER),
    "account_members": Route(Guard.MEMBER),
    "account_invite": Route(Guard.OWNER, "POST"),
    "account_withdraw": Route(Guard.OWNER, "POST", {"uid": "invitation"}),
    "account_role": Route(Guard.OWNER, kwargs={"pk": "bob"}),
    "account_remove": Route(Guard.OWNER, kwargs={"pk": "bob"}),
    "account_settings": Route(Guard.OWNER),
    "account_tokens": Route(Guard.MEMBER),
    "account_token_revoke": Route(Guard.MANAGER, kwargs={"uid": "api_token"}),
    "accept_invitation": Route(Guard.SIGNED, kwargs={"token": "token"}),
    "transcripts": Route(Guard.MEMBER),
    "account_privacy": Route(Guard.OWNER),
    "batches:list": Route(Guard.MEMBER),
    "batches:create": Route(Guard.MANAGER),
    "batches:deleted": Route(Guard.MEMBER),
    "batches:service": Route(Guard.MEMBER),
    "batches:check": Route(Guard.MANAGER),
    "batches:try_webhook": Route(Guard.MANAGER, "POST"),
    "batches:delete": Route(Guard.MANAGER),
    "batches:pause": Route(Guard.MANAGER),
    "batches:resume": Route(Guard.MANAGER),
    "batches:retry_failed": Route(Guard.MANAGER, "POST", BATCH),
    "batches:cancel_waiting": Route(Guard.MANAGER, kwargs=BATCH),
    "batches:result": Route(Guard.MEMBER, kwargs={**BATCH, "result_uid": "result"}),
    "batches:detail": Route(Guard.MEMBER, kwargs=BATCH),
    "batches:archive": Route(Guard.MEMBER, kwargs=BATCH),
    "keep_list": Route(Guard.SIGNED_IN, "POST", {"name": "list"}),
    "batches:selected_archive": Route(Guard.MEMBER, kwargs=BATCH),
    "batches:selected_export": Route(Guard.MEMBER, kwargs=BATCH),
    "first_steps": Route(Guard.MANAGER),
    "first_steps_sample": Route(Guard.MANAGER, "POST"),
    "batches:upload_receive": Route(Guard.MANAGER, "POST", BATCH),
    "batches:acknowledge": Route(Guard.MANAGER, kwargs={**BATCH, "subject": "acknowledged_subject"}),
    "batches:look_now": Route(Guard.MANAGER, "POST", BATCH),
    "batches:settings": Route(Guard.MANAGER, kwargs=BATCH),
    "batches:results": Route(Guard.MEMBER, kwargs=BATCH),
    "batches:result_download": Route(Guard.MEMBER, kwargs={**BATCH, "result_uid": "result"}),
    "batches:task": Route(Guard.MEMBER, kwargs=TASK),
    "batches:task_media": Route(Guard.MEMBER, kwargs=TASK),
    "batches:task_original": Route(Guard.OWNER, "POST", TASK),
    "batches:task_original_delete": Route(Guard.OWNER, "POST", TASK),
    "batches:task_retry": Route(Guard.MANAGER, "POST", TASK),
    "batches:task_acknowledge": Route(Guard.MANAGER, "POST", TASK),
    "batches:task_cancel": Route(Guard.MANAGER, "POST", TASK),
    "batches:task_repeat": Route(Guard.MANAGER, kwargs=TASK),
    "batches:task_media_there": Route(Guard.MEMBER, kwargs=TASK),
    "batches:task_lines": Route(Guard.MEMBER, kwargs=TASK),
    "batches:task_change": Route(Guard.MANAGER, "POST", TASK),
    "batches:task_line": Route(Guard.MANAGER, "POST", {**TASK, "index": "line"}),
    "batches:task_speakers": Route(Guard.MANAGER, "POST", TASK),
    "batches:task_publish": Route(Guard.MANAGER, "POST", TASK),
    "batches:task_download": Route(Guard.MEMBER, kwargs={**TASK, "name": "format"}),
    "notifications": Route(Guard.MEMBER),
    "notification_channel_add": Route(Guard.MANAGER, "POST"),
    "notification_channel_try": Route(Guard.MANAGER, "POST", {"uid": "channel"}),
    "notification_channel_remove": Route(Guard.MANAGER, "POST", {"uid": "channel"}),
    "batches:selected_tasks": Route(Guard.MANAGER, kwargs={**BATCH, "action": "action"}),
    "batches:upload_plan": Route(Guard.MANAGER, "POST", BATCH),
    "batches:upload_sign": Route(Guard.MANAGER, "POST", BATCH),
    "batches:upload_finish": Route(Guard.MANAGER, "POST", BATCH),
    "batches:activity": Route(Guard.MEMBER, kwargs=BATCH),
    "batches:deliveries": Route(Guard.MEMBER, kwargs=BATCH),
    "batches:webhook_test": Route(Guard.MANAGER, "POST", BATCH),
    "batches:webhook_resume": Route(Guard.MANAGER, "POST", BATCH),
    "batches:webhook_secret": Route(Guard.MANAGER, "POST", BATCH),
    "batches:webhook_rotate": Route(Guard.MANAGER, kwargs=BATCH),
    "batches:redeliver_since": Route(Guard.MANAGER, kwargs=BATCH),
    "batches:delivery": Route(Guard.MEMBER, kwargs=DELIVERY),
    "batches:redeliver": Route(Guard.MANAGER, "POST", DELIVERY),
    "connections:list": Route(Guard.MEMBER),
    "connections:create": Route(Guard.MANAGER),
    "connections:edit": Route(Guard.MANAGER, kwargs=CONNECTION),
    "connections:check": Route(Guard.MEMBER, kwargs=CONNECTION),
    "connections:delete": Route(Guard.MANAGER, kwargs=CONNECTION),
    "connections:browse": Route(Guard.MANAGER, kwargs=CONNECTION),
    "connections:create_folder": Route(Guard.MANAGER, "POST", CONNECTION),
    "local_file": Route(Guard.SIGNED, kwargs={"token": "token"}),
    "domains:list": Route(Guard.MEMBER),
    "domains:create": Route(Guard.MANAGER),
    "domains:edit": Route(Guard.MANAGER, kwargs=DOMAIN),
    "domains:keywords_txt": Route(Guard.MEMBER, kwargs=DOMAIN),
    "domains:keywords_csv": Route(Guard.MEMBER, kwargs=DOMAIN),
    "domains:delete": Route(Guard.MANAGER, kwargs=DOMAIN),
    "text_rules:page": Route(Guard.MANAGER, kwargs=DOMAIN),
    "text_rules:reprocess": Route(Guard.MANAGER, "POST", DOMAIN),
    "text_rules:delete_originals": Route(Guard.OWNER, "POST", DOMAIN),
    "text_rules:proposal": Route(Guard.MANAGER, "POST", DOMAIN),
    "text_rules:replacements": Route(Guard.MEMBER, kwargs={**DOMAIN, "ending": "ending"}),
    "notified": Route(Guard.SIGNED, "POST", {"uid": "connection", "token": "token"}),
    "help:index": Route(Guard.OPEN),
    "help:search": Route(Guard.OPEN),
    "help:llms": Route(Guard.OPEN),
    "help:page": Route(Guard.OPEN, kwargs={"slug": "help_page"}),
    "help:raw": Route(Guard.OPEN, kwargs={"slug": "help_page", "language": "language"}),
    "usage:list": Route(Guard.MEMBER),
    "usage:export": Route(Guard.MEMBER, kwargs={"month": "month"}),
}

# Everything below these is for support staff, by the admin site itself.
STAFF_NAMESPACES = ("admin",)
# These are for programs: tests/api/test_routes.py walks them.
TOKEN_NAMESPACES = ("api", "clova", "clova_short", "openai", "openai_batch")
