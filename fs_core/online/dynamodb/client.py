"""Calls to a table: in parallel, within a deadline, errors in our words."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from fs_core.errors import DeadlineExceededError, OnlineStoreError, OnlineUnavailableError
from fs_core.online.dynamodb.names import Name
from fs_core.online.dynamodb.url import Address
from fs_core.runtime.per_process import PerProcess
from fs_core.runtime.threads import submit

T = TypeVar("T")
A = TypeVar("A")
_THREADS, _NAME = 32, "fs-dynamodb"
_SECONDS = 10.0  # of a call without a deadline of its own
_KEYS = 100  # of one BatchGetItem
_DELETES = 25  # of one BatchWriteItem
_BUSY = {
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "RequestLimitExceeded",
    "InternalServerError",
    "ServiceUnavailable",
    "LimitExceededException",
    "ThrottlingError",
    "ProvisionedThroughputExceeded",
}
_OURS = {"p": "B", "s": "B"}
_DENIED = {
    "AccessDeniedException",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "UnrecognizedClientException",
}
_UNMET = {
    "ConditionalCheckFailedException",
    "ConditionalCheckFailed",
    "TransactionConflictException",
    "TransactionConflict",
    "TransactionInProgressException",
}


class Table:
    """A table, reached by a client and threads that each process makes for itself.

    Args:
        address: which.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._client = PerProcess(lambda: _connected(address))
        self._threads = PerProcess(lambda: ThreadPoolExecutor(_THREADS, thread_name_prefix=_NAME))

    def close(self) -> None:
        """Release connections and threads."""
        if client := self._client.take():
            client.close()
        if threads := self._threads.take():
            threads.shutdown(wait=False)

    def call(self, operation: str, **arguments: Any) -> dict[str, Any] | None:
        """Return what an operation answers, None where its condition isn't met, or another writer is at the item.

        Args:
            operation: a method of boto3's client.
            arguments: its arguments but for the table.

        Raises:
            OnlineUnavailableError: the server can't be reached, or is too busy.
            OnlineStoreError: it refuses.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        several = operation.startswith(("batch", "transact"))
        given = arguments if several else {"TableName": self.address.table, **arguments}
        try:
            answer: dict[str, Any] = getattr(self._client.get(), operation)(**given)
        except ClientError as error:
            codes = _codes(error.response)
            if codes and codes <= _UNMET:
                return None
            raise self._refused(codes, error) from error
        except BotoCoreError as error:
            raise self._unreached(error) from error
        return answer

    def each(self, work: Callable[[A], T], items: Sequence[A], *, within: float | None = None) -> list[T]:
        """Do the same with each item, many at once; return what came of each.

        Args:
            work: what to do.
            items: with what.
            within: seconds; None for as long as it takes.

        Raises:
            DeadlineExceededError: it took longer.
        """
        if within is None and (len(items) == 1 or threading.current_thread().name.startswith(_NAME)):
            return list(map(work, items))  # a thread that waited for others of its kind could wait for ever
        futures = [submit(self._threads.get(), work, item) for item in items]
        done, _ = wait(futures, timeout=within, return_when=FIRST_EXCEPTION)
        failed = next((future for future in done if future.exception()), None)
        if failed is None and len(done) == len(futures):
            return [future.result() for future in futures]
        for future in futures:
            future.cancel()
        if within is None:
            wait(futures)  # nothing is written any more by who has raised
        if failed is not None:
            failed.result()
        raise DeadlineExceededError(f"the online store {self.address} didn't answer within {within:.3g} s.")

    def get(self, names: Iterable[Name], fields: str, *, within: float | None = None) -> dict[Name, dict[str, Any]]:
        """Return the items of some names, as far as they are there: a hundred in one round trip.

        Args:
            names: which.
            fields: which attributes, `p` and `s` among them.
            within: seconds for all of it; None for the table's own limit.

        Raises:
            DeadlineExceededError: it took longer.
        """
        wanted = list(dict.fromkeys(names))
        ends = time.monotonic() + (_SECONDS if within is None else within)
        parts = [wanted[start : start + _KEYS] for start in range(0, len(wanted), _KEYS)]
        found: dict[Name, dict[str, Any]] = {}
        for items in self.each(lambda part: self._get(part, fields, ends), parts, within=within):
            found.update({(bytes(item["p"]["B"]), bytes(item["s"]["B"])): item for item in items})
        return found

    def _get(self, names: Sequence[Name], fields: str, ends: float) -> list[dict[str, Any]]:
        table = self.address.table
        keys: Any = {"Keys": [key_of(name) for name in names], "ProjectionExpression": fields, "ConsistentRead": True}
        asked, found = {table: keys}, []
        for tried in range(1_000_000):
            answer = self.call("batch_get_item", RequestItems=asked) or {}
            found += answer["Responses"].get(table, [])
            asked = answer.get("UnprocessedKeys") or {}
            if not asked:
                break
            self._pause(tried, ends)
        return found

    def delete(self, names: Sequence[Name]) -> None:
        """Delete items, whatever they are."""

        def some(start: int) -> None:
            requests = [{"DeleteRequest": {"Key": key_of(name)}} for name in names[start : start + _DELETES]]
            asked, ends = {self.address.table: requests}, time.monotonic() + _SECONDS
            for tried in range(1_000_000):
                answer = self.call("batch_write_item", RequestItems=asked)
                asked = asked if answer is None else answer.get("UnprocessedItems") or {}
                if not asked:
                    return
                self._pause(tried, ends)

        self.each(some, range(0, len(names), _DELETES))

    def query(self, partition: bytes, fields: str, *, begins: bytes = b"") -> Iterable[list[dict[str, Any]]]:
        """Yield the items of a partition, page after page.

        Args:
            partition: its key.
            fields: which attributes.
            begins: with what their sort keys begin; nothing for all of them.
        """
        start: dict[str, Any] = {}
        values = {":p": {"B": partition}, **({":s": {"B": begins}} if begins else {})}
        while True:
            answer = self.call(
                "query",
                KeyConditionExpression="p = :p" + (" AND begins_with(s, :s)" if begins else ""),
                ExpressionAttributeValues=values,
                ProjectionExpression=fields,
                ConsistentRead=True,
                **start,
            )
            assert answer is not None
            yield answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def _pause(self, tried: int, ends: float) -> None:
        """Wait a little, longer each time, for a table that answers in part because it is busy."""
        seconds = random.uniform(0, min(1.0, 0.01 * 2**tried))  # noqa: S311
        if time.monotonic() + seconds >= ends:
            raise DeadlineExceededError(
                f"the online store {self.address} is too busy to answer in time: it left keys unprocessed. Raise its "
                "capacity, or make it on demand."
            )
        time.sleep(seconds)

    def _refused(self, codes: set[str], error: Exception) -> OnlineStoreError:
        what = f"the online store {self.address}"
        if codes & _BUSY:
            return OnlineUnavailableError(f"{what} is too busy: {error}. Raise its capacity, or make it on demand.")
        make = _MAKE.format(self.address)
        if "ResourceNotFoundException" in codes:
            return OnlineStoreError(f"{what}: there is no such table. Make it:\n{make}")
        if "ValidationException" in codes and (keys := self._keys()) not in ({}, _OURS):
            found = ", ".join(f"{name} ({kind})" for name, kind in keys.items())
            return OnlineStoreError(f"{what}: its keys are {found}, and not p (B) and s (B). Make another:\n{make}")
        if codes & _DENIED:
            return OnlineStoreError(
                f"{what} refuses the environment's credentials: {error}. Look at AWS_ACCESS_KEY_ID, AWS_PROFILE or the "
                "machine's role, and at what they may do with this table."
            )
        return OnlineStoreError(f"{what} refuses: {error}.")

    def _keys(self) -> dict[str, str]:
        """Return the names and types of the table's keys; nothing where that can't be asked."""
        try:
            table = self._client.get().describe_table(TableName=self.address.table)["Table"]
        except Exception:  # noqa: BLE001 - what can't be asked here has failed for another reason before
            return {}
        types = {each["AttributeName"]: each["AttributeType"] for each in table["AttributeDefinitions"]}
        return {each["AttributeName"]: types[each["AttributeName"]] for each in table["KeySchema"]}

    def _unreached(self, error: Exception) -> OnlineStoreError:
        what = f"the online store {self.address}"
        if "redentials" in type(error).__name__ or "Profile" in type(error).__name__:
            return OnlineStoreError(
                f"{what}: {error}. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE."
            )
        return OnlineUnavailableError(f"{what} can't be reached: {error}.")


_MAKE = (
    "aws dynamodb create-table --region {0.region} --table-name {0.table} --billing-mode PAY_PER_REQUEST "
    "--attribute-definitions AttributeName=p,AttributeType=B AttributeName=s,AttributeType=B "
    "--key-schema AttributeName=p,KeyType=HASH AttributeName=s,KeyType=RANGE"
)


def key_of(name: Name) -> dict[str, Any]:
    """Return an item's key as the protocol has it."""
    return {"p": {"B": name[0]}, "s": {"B": name[1]}}


def _codes(response: Mapping[str, Any]) -> set[str]:
    """Return why a request was refused; for a transaction, why each of its items was."""
    reasons = response.get("CancellationReasons") or [response.get("Error", {})]
    return {code for reason in reasons if (code := reason.get("Code") or "None") != "None"}


def _connected(address: Address) -> Any:
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise OnlineStoreError(
            f"the online store {address} needs boto3: {error}. pip install 'fs-core[dynamodb]'"
        ) from None
    retries = {"mode": "standard", "total_max_attempts": 4}
    config = Config(connect_timeout=3, read_timeout=_SECONDS, max_pool_connections=_THREADS, retries=retries)
    return boto3.session.Session().client(
        "dynamodb", region_name=address.region, endpoint_url=address.endpoint, config=config
    )
