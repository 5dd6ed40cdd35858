"""The rules of who may come in: tokens, addresses, names; `test_access_*` try them from outside."""

import os
from ipaddress import ip_address
from pathlib import Path

import pytest

from app.access import Rules, host_name
from app.access_token import Token, TokenError, chosen_token, drawn_token
from app.address import AddressError, numeric_address, web_addresses, with_token
from app.server import announcement, token_asked_for

GOOD = "0123456789abcdef"


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    file = folder / "token"
    file.write_text(text)
    file.chmod(mode)
    return file


def test_the_token_comes_from_the_file_then_the_environment_then_chance(tmp_path: Path) -> None:
    file = written(tmp_path, f"{GOOD}-file\n")
    environment = {"FASA_TOKEN": f"{GOOD}-variable"}
    assert chosen_token(file, environment) == Token(f"{GOOD}-file", str(file))
    assert chosen_token(None, environment) == Token(f"{GOOD}-variable", "FASA_TOKEN")
    assert chosen_token(None, {}) is None
    drawn = {drawn_token().text for _ in range(100)}
    assert len(drawn) == 100
    assert min(map(len, drawn)) == 48


@pytest.mark.parametrize("text", [GOOD, f"{GOOD}\n", f"{GOOD}\r\n"])
def test_a_line_end_does_not_belong_to_the_token(tmp_path: Path, text: str) -> None:
    token = chosen_token(written(tmp_path, text), {})
    assert token is not None
    assert token.text == GOOD


@pytest.mark.parametrize("mode", [0o644, 0o606, 0o602])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(TokenError, match="every user of this machine: chmod o-rw"):
        chosen_token(written(tmp_path, GOOD, mode), {})


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640])
def test_a_file_of_its_owner_and_group_is_taken(tmp_path: Path, mode: int) -> None:
    assert chosen_token(written(tmp_path, GOOD, mode), {}) is not None


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "has 0 characters"), (GOOD[:-1], "has 15 characters"), ("x" * 1025, "too many"),
     (f"{GOOD}\n{GOOD}", "a control character"), (f"{GOOD}\n\n", "a control character"),
     (f" {GOOD}", "a space"), (f"{GOOD}ß", "outside ASCII")],
)  # fmt: skip
def test_a_bad_token_is_refused_without_telling_it(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(TokenError, match=reason) as refused:
        chosen_token(written(tmp_path, text), {})
    assert GOOD[:-1] not in str(refused.value)
    with pytest.raises(TokenError, match="FASA_TOKEN"):
        chosen_token(None, {"FASA_TOKEN": text})


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenError, match="No such file"):
        chosen_token(tmp_path / "nothing", {})
    with pytest.raises(TokenError, match="Is a directory"):
        chosen_token(tmp_path, {})
    file = written(tmp_path, "")
    file.write_bytes(os.urandom(64) + b"\xff")
    with pytest.raises(TokenError, match="no text"):
        chosen_token(file, {})


def test_a_token_is_asked_for_unless_only_this_machine_can_come() -> None:
    here, everywhere = ip_address("127.0.0.1"), ip_address("0.0.0.0")
    chosen = Token(GOOD, "FASA_TOKEN")
    assert token_asked_for(here, [], None) is None
    assert token_asked_for(ip_address("::1"), [], None) is None
    assert token_asked_for(here, [], chosen) == chosen
    assert token_asked_for(here, ["lab.example"], None) is not None
    assert token_asked_for(everywhere, [], chosen) == chosen
    for address in ("0.0.0.0", "::", "192.0.2.7", "2001:db8::7", "::ffff:127.0.0.1"):
        drawn = token_asked_for(ip_address(address), [], None)
        assert drawn is not None
        assert drawn.source is None


def test_a_drawn_token_is_told_and_a_chosen_one_is_not() -> None:
    addresses = ["http://127.0.0.1:8501", "http://192.0.2.7:8501"]
    assert announcement(addresses[:1], None) == "dashboard: http://127.0.0.1:8501"
    told = announcement(addresses, Token(GOOD, None)).splitlines()
    assert told[0] == f"dashboard: http://127.0.0.1:8501/?token={GOOD}"
    assert told[1].split()[:2] == ["or:", f"http://192.0.2.7:8501/?token={GOOD}"]
    quiet = announcement(addresses[:1], Token(GOOD, "FASA_TOKEN"))
    assert quiet == "dashboard: http://127.0.0.1:8501 (asks for the token of FASA_TOKEN)"
    assert with_token("http://a", "a&b=c/#") == "http://a/?token=a%26b%3Dc%2F%23"


def test_names_and_short_forms_become_the_address_that_is_judged() -> None:
    assert numeric_address("localhost").is_loopback
    assert str(numeric_address("127.1")) == "127.0.0.1"
    assert numeric_address("0").is_unspecified
    assert str(numeric_address("::1")) == "::1"
    for nothing in (
        "",
        "999.1.1.1",
        "no-such-host.invalid",
        "unix:///tmp/socket",
        "a b",
        "x" * 300,
    ):
        with pytest.raises(AddressError, match="give another --address"):
            numeric_address(nothing)


def test_the_address_to_type() -> None:
    assert web_addresses(ip_address("192.0.2.7"), 80) == ["http://192.0.2.7:80"]
    assert web_addresses(ip_address("::1"), 8501) == ["http://[::1]:8501"]
    for listening, here in (("0.0.0.0", "http://127.0.0.1:1"), ("::", "http://[::1]:1")):
        addresses = web_addresses(ip_address(listening), 1)
        assert addresses[0] == here
        assert len(set(addresses)) == len(addresses)
        assert not any("0.0.0.0" in address or "[::]" in address for address in addresses)


def test_names_of_a_host_header() -> None:
    assert host_name("Lab.Example:8501") == "lab.example"
    assert host_name("[::1]:80") == "[::1]"
    for wrong in ("", "a b", "a:b", "a:1:2", "http://a", "a/b", "u@a", "[::1", "a:", "a\n", "ä"):
        assert host_name(wrong) is None


def test_the_cookie_is_not_the_token() -> None:
    rules = Rules(token=GOOD, loopback=False)
    assert GOOD not in rules.cookie_value()
    assert rules.allows_cookie(rules.cookie_value())
    assert not rules.allows_cookie(GOOD)
    assert not rules.allows_cookie("")
    assert not rules.allows_token(rules.cookie_value())
    assert not Rules(token=GOOD[::-1]).allows_cookie(rules.cookie_value())


def test_any_text_can_be_tried() -> None:
    rules = Rules(token=GOOD)
    for text in ("", "\x00", "ä", "\udcff", "x" * 100_000, GOOD.upper() + " "):
        assert not rules.allows_token(text)
        assert not rules.allows_cookie(text)
    assert rules.allows_token(GOOD)
