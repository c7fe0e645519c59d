"""Chat messages to the incoming webhooks of Slack, Microsoft Teams and Discord.

Sources: api.slack.com/messaging/webhooks; learn.microsoft.com, "Create Incoming Webhooks" (adaptive cards);
discord.com/developers/docs/resources/webhook (at most 2,000 characters).
"""

from __future__ import annotations

import json

from batches.models import ChatChannel
from speechportal.outbound import client
from speechportal.outbound.policy import policy

SECONDS = 10
Service = ChatChannel.Service
LONGEST = {
    Service.SLACK: 3000,
    Service.TEAMS: 20_000,
    Service.DISCORD: 2000,
}


class ChatRefused(Exception):
    """The chat service rejected the message."""


def post(channel: ChatChannel, text: str) -> None:
    """Send one message to a channel. Raises ``ChatRefused``, ``OutboundError`` or ``EncryptionError``."""
    body = json.dumps(payload(channel.service, text), ensure_ascii=False).encode()
    answer = client.post(
        channel.url(), body, {"Content-Type": "application/json"}, timeout=SECONDS, policy=policy()
    )
    if not 200 <= answer.status < 300:
        raise ChatRefused(f"HTTP {answer.status}")


def payload(service: str, text: str) -> dict[str, object]:
    """Request body for one service. Names of files and batches can neither mention anybody nor add markup."""
    limit = LONGEST[Service(service)]
    text = text if len(text) <= limit else f"{text[: limit - 1]}…"
    if service == Service.SLACK:
        escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        return {
            "blocks": [{"type": "section", "text": {"type": "plain_text", "text": text}}],
            "text": escaped,
        }
    if service == Service.DISCORD:
        return {"content": text, "allowed_mentions": {"parse": []}}
    card = {
        "type": "AdaptiveCard",
        "version": "1.4",
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "body": [{"type": "TextBlock", "text": text, "wrap": True}],
    }
    return {
        "type": "message",
        "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "content": card}],
    }
