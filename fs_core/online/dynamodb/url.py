"""What a URL says of a table: `dynamodb://region/table?endpoint=...`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qs

from fs_core.configuration import has_password
from fs_core.errors import ConfigurationError, redact_url

_URL = re.compile(
    r"dynamodb://(?P<region>(?![0-9]+/|-)[A-Za-z0-9-]{1,63}(?<!-))/(?P<table>[A-Za-z0-9_.-]{1,255})/?(\?(?P<options>[^#]*))?",
    re.IGNORECASE,
)
"""As AWS has regions and names tables."""
_ENDPOINT = re.compile(r"https?://([A-Za-z0-9_.-]+|\[[0-9a-fA-F:.]+\])(:(?P<port>\d{1,5}))?/?")


@dataclass(frozen=True)
class Address:
    """A table and where it is.

    Attributes:
        region: of AWS.
        table: its name.
        endpoint: the URL of a server that isn't AWS; None for AWS.
    """

    region: str
    table: str
    endpoint: str | None

    def __str__(self) -> str:
        return f"dynamodb://{self.region}/{self.table}"


def parsed(url: str) -> Address:
    """Return what a URL says.

    Raises:
        ConfigurationError: it names no table, carries credentials, or says something else.
    """
    what = f"online store {redact_url(url)!r}"
    if has_password(url) or "@" in url:
        raise ConfigurationError(
            f"{what}: credentials don't belong in the URL. They come from the environment, as all of AWS' tools take "
            "them: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the machine's role."
        )
    written = _URL.fullmatch(url)
    if written is None:
        raise ConfigurationError(f"{what} names no table. Write dynamodb://eu-central-1/my_table.")
    options = parse_qs(written["options"] or "", keep_blank_values=True)
    if unknown := sorted(set(options) - {"endpoint"}):
        raise ConfigurationError(f"{what}: unknown option {unknown[0]!r}. Known: endpoint.")
    endpoints = options.get("endpoint", [])
    if len(endpoints) > 1 or not all(map(_is_endpoint, endpoints)):
        raise ConfigurationError(
            f"{what}: its endpoint is {', '.join(map(redact_url, endpoints))!r}. Write the URL of one server, such as "
            "?endpoint=http://localhost:8000; leave it out for AWS."
        )
    return Address(written["region"], written["table"], next(iter(endpoints), None))


def _is_endpoint(url: str) -> bool:
    """Return whether boto3 takes a URL for that of a server."""
    found = _ENDPOINT.fullmatch(url)
    return found is not None and int(found["port"] or 0) < 65_536
