"""What a URL says of a table: `dynamodb://region/table?endpoint=...`."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from fs_core.configuration import has_password
from fs_core.errors import ConfigurationError, redact_url


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
    parts = urlsplit(url)
    table, options = parts.path.strip("/"), parse_qs(parts.query, keep_blank_values=True)
    if not parts.netloc or not table or "/" in table:
        raise ConfigurationError(f"{what} names no table. Write dynamodb://eu-central-1/my_table.")
    if unknown := sorted(set(options) - {"endpoint"}):
        raise ConfigurationError(f"{what}: unknown option {unknown[0]!r}. Known: endpoint.")
    return Address(parts.netloc, table, next(iter(options.get("endpoint", [])), None))
