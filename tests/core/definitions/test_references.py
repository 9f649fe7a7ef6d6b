"""References: a view, its features, and which version is meant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fs_core.definitions import Reference, VersionSelector
from fs_core.errors import DefinitionError
from fs_core.values.times import micros

names = st.from_regex(r"(?!__)[A-Za-z_][A-Za-z0-9_]{0,62}", fullmatch=True)
versions = st.tuples(*[st.integers(0, 999_999_999)] * 3).map(lambda numbers: ".".join(map(str, numbers)))
digests = st.text("0123456789abcdef", min_size=7, max_size=64)
zones = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=8))])
moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.none() | zones)
aliases = st.from_regex(r"(?!current\Z|latest\Z|[0-9a-fA-F]+\Z)[A-Za-z][A-Za-z0-9_-]{0,62}", fullmatch=True)
selectors = st.one_of(
    st.just(("", VersionSelector())),
    versions.map(lambda version: (f":v{version}", VersionSelector(version=version))),
    versions.map(lambda version: (f":{version}", VersionSelector(version=version))),
    digests.map(lambda digest: (f"@{digest}", VersionSelector(digest=digest))),
    aliases.map(lambda alias: (f"@{alias}", VersionSelector(alias=alias))),
    moments.map(lambda at: (f"@{at.isoformat()}", VersionSelector(moment=micros(at)))),
)


@given(names, st.none() | st.just("*") | names, selectors)
def test_a_reference_is_its_parts(name: str, feature: str | None, selector: tuple[str, VersionSelector]) -> None:
    """A reference reads as the view, the feature and the selector it was written from; `view.*` is `view`."""
    text, meant = selector
    written = name + ("" if feature is None else f".{feature}") + text
    assert Reference.parse(written) == Reference(name, None if feature == "*" else feature, meant, written)


@pytest.mark.parametrize(
    ("text", "selector"),
    [
        ("user_stats", VersionSelector()),
        ("user_stats.*:v1.2.3", VersionSelector(version="1.2.3")),
        ("user_stats.clicks@3f2a9c1", VersionSelector(digest="3f2a9c1")),
        ("user_stats@2024-01-15T10:30:00Z", VersionSelector(moment=1_705_314_600_000_000)),
        ("user_stats@2024-01-15", VersionSelector(moment=1_705_276_800_000_000)),
        ("user_stats@2024-01-15T12:30+02:00", VersionSelector(moment=1_705_314_600_000_000)),
        ("user_stats.clicks@production", VersionSelector(alias="production")),
        ("user_stats@deadbeef", VersionSelector(digest="deadbeef")),
        ("user_stats@20240115", VersionSelector(digest="20240115")),
    ],
)
def test_selectors_as_they_are_documented(text: str, selector: VersionSelector) -> None:
    """A colon means a version, an @ a digest, a moment if it looks like a date, or else an alias."""
    assert Reference.parse(text).selector == selector


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "user stats", "user_stats.", ".clicks", "user.stats.clicks", "user-stats", "1user", "user_stats.5"),
        *("user_stats:", "user_stats:v1", "user_stats:1.2", "user_stats:v1.2.3.4", "user_stats:v1.2.3@3f2a9c1", "*"),
        *("user_stats@", "user_stats@3f2a9c", "user_stats@3F2A9C1", "user_stats@" + "a" * 65, "user_stats@latest"),
        *("user_stats@cafe", "user_stats@current", "user_stats@a.b", "user_stats@prod:v1.0.0", "user_stats@1st"),
        *("user_stats\n", "user_stats.clicks\n", " user_stats", "usér_stats", "user_stats:v1.٣.0", "user_stats.**"),
        *(None, 5, b"user_stats", ["user_stats"]),
    ],
)
def test_references_that_are_none(text: Any) -> None:
    """What is no reference is refused with the forms that are."""
    with pytest.raises(
        DefinitionError, match=r"is no reference. Write 'view', 'view.feature' or 'view.\*', optionally"
    ):
        Reference.parse(text)


def test_feasts_form_gets_a_hint() -> None:
    """`view:feature`, as in Feast, is refused with the form that means it here."""
    with pytest.raises(
        DefinitionError, match=r"'user_stats:clicks' is no reference.*Did you mean 'user_stats\.clicks'\?"
    ):
        Reference.parse("user_stats:clicks")


def test_a_key_where_features_are_meant_gets_a_hint() -> None:
    """As who types `fs get view user_id=1` has left out the option."""
    with pytest.raises(DefinitionError, match=r"'user_id=1' is no reference.*To fs get: -e user_id=1"):
        Reference.parse("user_id=1")


@pytest.mark.parametrize(
    "moment", ["2024-13-01", "2024-01-32", "0000-01-01", "2024-01-15T25:00:00", "2024-01-15 at noon", "2024-01-15T"]
)
def test_moments_that_are_none(moment: str) -> None:
    """A date that the calendar doesn't know is refused with the reference it stands in."""
    with pytest.raises(DefinitionError, match=r"reference 'user_stats@.*' is no ISO 8601 time, such as 2024-01-15T10"):
        Reference.parse(f"user_stats@{moment}")


def test_a_moment_outside_the_calendar() -> None:
    """A moment whose zone moves it out of the years 1 to 9999 is refused too."""
    with pytest.raises(DefinitionError, match="reference"):
        Reference.parse("user_stats@9999-12-31T23:00:00-05:00")
