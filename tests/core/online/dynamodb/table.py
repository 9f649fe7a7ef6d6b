"""What the tests see of a store's table: requests, items, and answers that get lost."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ReadTimeoutError

from fs_core.online.dynamodb import DynamoDBOnlineStore


def requests_of(store: DynamoDBOnlineStore) -> list[str]:
    """Return a list to which the name of each request is added from now on."""
    seen: list[str] = []
    client: Any = store._table._client.get()
    client.meta.events.register("before-send.dynamodb.*", lambda event_name, **_: seen.append(event_name))
    return seen


def items_of(store: DynamoDBOnlineStore, view: str) -> list[dict[str, Any]]:
    """Return all items of a view, parts and watermark among them."""
    partitions = store._names.partitions(store._names.mark(view))
    return [item for each in partitions for page in store._table.query(each, "p, s, v, c, n") for item in page]


def lose_an_answer(store: DynamoDBOnlineStore) -> list[bytes]:
    """Let the answer to the next conditional write get lost on its way; return a list that then has the request."""
    http: Any = store._table._client.get()._endpoint.http_session
    lost, send = list[bytes](), http.send

    def losing(request: Any) -> Any:
        answer, body = send(request), request.body
        if not lost and b"ConditionExpression" in body and b"KeyCondition" not in body:
            lost.append(body)
            raise ReadTimeoutError(endpoint_url="lost")
        return answer

    http.send = losing
    return lost
