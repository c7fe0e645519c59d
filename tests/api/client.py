"""API client for tests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from speechportal.accounts.models import Account, ApiToken, User
from tests.clients import Client


@dataclass
class Api:
    """API client that sends JSON with a token; responses are Django's, with ``json()``."""

    account: Account
    user: User
    token: ApiToken
    plain: str

    def send(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, **extra: Any
    ) -> Any:
        headers = {"Authorization": f"Bearer {self.plain}", **(headers or {})}
        content: dict[str, Any] = {}
        if body is not None:
            content = {"data": body, "content_type": "application/json"}
        address = path if path.startswith("/") else f"/api/v1/{path}"
        return Client().generic(method, address, **_encoded(content), headers=headers, **extra)

    def get(self, path: str, **kwargs: Any) -> Any:
        return self.send("GET", path, **kwargs)

    def post(self, path: str, body: Any = None, **kwargs: Any) -> Any:
        return self.send("POST", path, body, **kwargs)

    def patch(self, path: str, body: Any = None, **kwargs: Any) -> Any:
        return self.send("PATCH", path, body, **kwargs)

    def put(self, path: str, body: Any = None, **kwargs: Any) -> Any:
        return self.send("PUT", path, body, **kwargs)

    def delete(self, path: str, **kwargs: Any) -> Any:
        return self.send("DELETE", path, **kwargs)


def _encoded(content: dict[str, Any]) -> dict[str, Any]:
    if "data" in content and not isinstance(content["data"], str | bytes):
        content["data"] = json.dumps(content["data"])
    return content
