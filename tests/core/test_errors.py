"""The tree of errors, what a message offers, and what it never shows."""

from __future__ import annotations

import pickle
import re
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fs_core import errors
from fs_core.errors import FeatureStoreError, did_you_mean, redact_url

CLASSES = [found for found in vars(errors).values() if isinstance(found, type) and issubclass(found, Exception)]
BRANCH = re.compile(r"^(?P<indent>[│ ]*)(?:[├└]── )?(?P<name>[A-Z]\w+)(?: {2,}(?P<meaning>\S.*))?$")

# Secrets are written in letters that occur nowhere else in the URLs below: none of them may come back.
secrets = st.text(string.ascii_uppercase + "@:/?#[]%&=+ \\é", min_size=1, max_size=12).filter(
    lambda text: any(letter.isupper() for letter in text)
)
schemes = st.sampled_from(["redis", "rediss", "postgresql+psycopg2", "mysql"])
users = st.sampled_from(["", "user", "some.one", "a%40b"])
addresses = st.sampled_from(["host", "host:6379/0", "[::1]:6379", "h1:1,h2:2/db", "host/db", "host/db?ssl=on", ""])


def drawn() -> dict[str, str]:
    """Return each class's parent as the module's docstring draws it."""
    parents, path = {}, []
    for line in str(errors.__doc__).splitlines():
        match = BRANCH.match(line.removeprefix("    ")) if line.startswith("    ") else None
        if match is None:
            continue
        depth = line.removeprefix("    ").index(match["name"]) // 4
        path[depth:] = [match["name"]]
        parents[match["name"]] = path[depth - 1] if depth else ""
        assert depth == 0 or match["meaning"], f"{match['name']} is drawn without a word on what it means"
    return parents


def test_every_error_is_drawn_where_it_belongs() -> None:
    """The drawing in the docstring is the class hierarchy: every class, each under its parent, and no other."""
    real = {
        c.__name__: next(b.__name__ for b in c.__bases__ if b.__module__ == errors.__name__ or b is Exception)
        for c in CLASSES
    }
    assert drawn() == real | {"FeatureStoreError": ""}


@pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.__name__)
def test_every_error_travels(error: type[FeatureStoreError]) -> None:
    """An error says what it is, is caught by the root, and comes back from another process as it was raised."""
    assert issubclass(error, FeatureStoreError)
    assert error.__doc__
    raised = error("what was wrong")
    raised.add_note("and where")
    back = pickle.loads(pickle.dumps(raised))
    assert (type(back), str(back), back.__notes__) == (error, "what was wrong", ["and where"])


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (errors.DefinitionError, ValueError),
        (errors.VersionConflictError, ValueError),
        (errors.SchemaError, ValueError),
        (errors.UnknownReferenceError, LookupError),
    ],
)
def test_errors_are_what_python_calls_them(error: type[Exception], builtin: type[Exception]) -> None:
    """Bad values are ValueErrors and unknown names LookupErrors, for code that knows no feature store."""
    assert issubclass(error, builtin)


def test_an_unknown_name_is_not_quoted_twice() -> None:
    """A LookupError that is no KeyError: its text is shown as written."""
    assert str(errors.UnknownReferenceError("there is no view 'x'")) == "there is no view 'x'"


@given(schemes, users, secrets, addresses)
@example("redis", "u", "PA/SS", "host/0")
@example("redis", "u", "PA?SS", "host/0")
@example("redis", "u", "PA#SS", "host/0")
@example("redis", "u", "P[A", "host")
@example("redis", "u", "A@B/C@D", "host")
@example("redis", "", "S", "")
@example("redis", "u", "S://T", "host")
def test_a_password_is_never_shown(scheme: str, user: str, secret: str, address: str) -> None:
    """No letter of a password is left, however odd the URL it makes; scheme and user stay."""
    shown = redact_url(f"{scheme}://{user}:{secret}@{address}")
    assert not any(letter.isupper() for letter in shown)
    assert shown.startswith(f"{scheme}://{user}:***@")


@given(
    schemes, st.sampled_from(["", "user@", "user:x@"]), addresses, st.sampled_from(["password", "sslpassword"]), secrets
)
def test_a_password_in_the_query_is_never_shown(scheme: str, user: str, address: str, name: str, secret: str) -> None:
    """A query is dropped as a whole, since passwords are passed there too."""
    joint = "&" if "?" in address else "?"
    shown = redact_url(f"{scheme}://{user}{address}{joint}{name}={secret}")
    assert not any(letter.isupper() for letter in shown)
    assert "password" not in shown
    assert shown.startswith(f"{scheme}://")


@given(users, secrets, st.sampled_from(["host", "host:6379"]))
@example("user", "//A", "host")
def test_a_password_without_a_scheme_is_never_shown(user: str, secret: str, address: str) -> None:
    """A URL that lacks its scheme is hidden all the same."""
    assert not any(letter.isupper() for letter in redact_url(f"{user}:{secret}@{address}"))


@pytest.mark.parametrize(
    "url",
    [
        *("sqlite", "", "redis://localhost:6379/0", "redis://user@localhost", "postgresql://[::1]:5432/db"),
        *("sqlite:////data/registry.db", "sqlite:////data/a@b/registry.db", "data/store", "http://[bad", "://"),
    ],
)
def test_a_url_without_a_password_stays(url: str) -> None:
    """What hides nothing is shown as it is, what no parser takes included."""
    assert redact_url(url) == url


@given(st.text())
def test_redacting_takes_any_text(text: str) -> None:
    """Any text can be redacted, once or twice with the same result, and nothing is added to it but stars and dots."""
    shown = redact_url(text)
    assert redact_url(shown) == shown
    assert set(shown) <= set(text) | set("*.")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:secret@host:6379/0", "redis://user:***@host:6379/0"),
        ("redis://:secret@host", "redis://:***@host"),
        ("redis://user:@host", "redis://user:***@host"),
        ("postgresql://host/db?password=secret", "postgresql://host/db"),
        ("rediss://user:secret@[::1]:6379/0?ssl_cert_reqs=none", "rediss://user:***@[::1]:6379/0"),
        ("redis://user:se?cret@host", "redis://user:***@..."),
    ],
)
def test_what_is_left_of_a_url(url: str, shown: str) -> None:
    """Scheme, user and address stay, where it is clear which is which."""
    assert redact_url(url) == shown


names = st.text("abcd_", min_size=1, max_size=6)


@given(names, st.lists(names, max_size=14))
def test_what_was_meant(name: str, known: list[str]) -> None:
    """A suggestion offers only what exists, each once; it says nothing where nothing exists."""
    sentence = did_you_mean(name, known)
    if not known:
        assert sentence == ""
        return
    offered = re.findall(r"'(\w+)'", sentence) or re.findall(r"\w+", sentence.partition(":")[2])
    assert offered
    assert set(offered) <= set(known)
    assert len(offered) == len(set(offered)) <= 10
    assert sentence[0] == " "
    assert sentence[-1] in "?."


def test_the_nearest_name_is_offered() -> None:
    """A slip of the finger is recognized; where nothing is near, what exists is listed, in order, ten at most."""
    assert did_you_mean("user_stat", ["user_stats", "item_stats", "x"]).startswith(" Did you mean 'user_stats'")
    assert did_you_mean("zzz", ["b", "a"]) == " Known: a, b."
    assert did_you_mean("zzz", string.ascii_lowercase[:12]) == " Known: a, b, c, d, e, f, g, h, i, j, ...."
