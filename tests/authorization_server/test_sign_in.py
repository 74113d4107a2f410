"""Signing in: who gets a session, who does not, and what guessing costs."""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import anyio
import pytest
from argon2 import Parameters, PasswordHasher, extract_parameters

from mcpauth.events import SignedIn, SignInFailed
from mcpauth.oauth.form import Form
from mcpauth.oauth.store import digest
from mcpauth.oauth.user import User, Users
from mcpauth.signin import SignInDelayed, SignInRefused
from mcpauth.signin.password import Passwords, PasswordSignIn, TooManyHashes, check_password
from mcpauth.signin.usual_places import UsualPlaces
from mcpauth.stores.memory import MemoryStore
from mcpauth.web.throttle import Attempt, Pace, Throttle
from tests.authorization_server.front_helpers import (
    CHEAP,
    PASSWORD,
    Clock,
    Running,
    answer_of,
    form_of,
    kept_codes,
    running,
)

if TYPE_CHECKING:
    import httpx2

pytestmark = pytest.mark.anyio

SESSION = "__Host-mcpauth_session"
WRONG = "User name or password is not right."


async def ada(server: Running) -> User:
    user = await server.users.by_name("ada")
    assert user is not None
    return user


async def test_a_right_password_begins_a_session() -> None:
    async with running() as server, server.browser() as browser:
        page = await browser.to_sign_in()
        response = await browser.submit(page, {"username": "ada", "password": PASSWORD})
        assert response.status_code == 303
        cookie = next(value for value in response.headers.get_list("set-cookie") if SESSION in value)
        assert all(
            part in cookie for part in ("HttpOnly", "Path=/", "SameSite=lax", "Secure", "Max-Age=43200")
        )
        assert [type(event) for event in server.happened] == [SignedIn]
        # Stored by digest: whoever reads the database cannot sign in with what is there.
        kept = await server.store.list("session")
        assert [key for key, _ in kept] == [digest(browser.http.cookies[SESSION])]


@pytest.mark.parametrize(
    ("username", "password"),
    [
        ("ada", "wrong password"),
        ("ada", PASSWORD + " "),
        ("nobody", PASSWORD),
        ("ada", ""),
        ("", ""),
        ("ada", "x" * 5000),
        ("'; drop table users; --", "x"),
    ],
)
async def test_a_wrong_one_does_not_and_the_page_does_not_say_what_was_wrong(
    username: str, password: str
) -> None:
    async with running() as server, server.browser() as browser:
        response = await browser.sign_in(await browser.to_sign_in(), username, password)
        assert response.status_code == 400
        assert WRONG in response.text
        assert SESSION not in browser.http.cookies
        assert await server.store.list("session") == []
        failed = [event for event in server.happened if isinstance(event, SignInFailed)]
        # What is no user's name may be a password in the wrong field.
        assert [event.login for event in failed] == ["ada" if username == "ada" else None]


async def test_a_wrong_password_does_not_end_the_flow() -> None:
    async with running() as server, server.browser() as browser:
        page = await browser.sign_in(await browser.to_sign_in(), "ada", "wrong password")
        assert form_of(page).fields["username"] == "ada"
        assert "wrong password" not in page.text
        assert "code" in answer_of(await browser.decide(await browser.sign_in(page)))


@pytest.mark.parametrize("written", ["ADA", "Ada", "ａｄａ"])
async def test_a_user_name_is_found_however_it_is_written(written: str) -> None:
    """RFC 8265 §3.3: case and width do not matter."""
    async with running() as server, server.browser() as browser:
        assert (await browser.sign_in(await browser.to_sign_in(), written)).status_code == 200


async def test_a_password_is_the_same_from_every_keyboard() -> None:
    """RFC 8265 §4.2: passwords are compared in normalization form C."""
    async with running() as server, server.browser() as browser:
        await server.users.add("zoë", CHEAP.hash("caf\u00e9 con leche"))
        page = await browser.to_sign_in()
        assert (await browser.sign_in(page, "zoe\u0308", "cafe\u0301 con leche")).status_code == 200


async def test_the_session_is_a_new_one_at_every_sign_in() -> None:
    """A cookie that somebody planted or saw before the sign-in is worth nothing after it."""
    async with running() as server:
        client = await server.register()
        async with server.browser(client) as attacker, server.browser(client) as browser:
            await attacker.to_consent()
            planted = attacker.http.cookies[SESSION]
            browser.http.cookies.set(SESSION, planted, domain="auth.example")
            page = await browser.follow(await browser.authorize(prompt="login"))
            await browser.submit(page, {"username": "ada", "password": PASSWORD})
            assert planted not in browser.http.headers.get("cookie", "")
            assert planted not in {cookie.value for cookie in browser.http.cookies.jar}
            # The old session ended: its other holder is signed out.
            assert "<h1>Sign in</h1>" in (await attacker.follow(await attacker.authorize())).text


@pytest.mark.parametrize("value", ["", "x", "A" * 43, "../../etc/passwd", "é"])
async def test_a_made_up_session_is_nobody(value: str) -> None:
    async with (
        running() as server,
        server.browser(cookie=f"{SESSION}={value}".encode()) as browser,
    ):
        assert (await browser.authorize()).headers["location"].startswith("/sign-in")


async def test_a_session_ends_after_its_lifetime() -> None:
    async with running() as server, server.browser() as browser:
        await browser.to_code()
        server.clock.advance(12 * 3600 + 1)
        assert (await browser.authorize()).headers["location"].startswith("/sign-in")


@pytest.mark.parametrize("change", ["disabled", "password"])
async def test_disabling_a_user_or_a_new_password_ends_every_session_at_once(change: str) -> None:
    async with running() as server, server.browser() as browser:
        await browser.to_code()
        if change == "disabled":
            await server.users.set_disabled(await ada(server), disabled=True)
        else:
            await server.users.set_password(await ada(server), CHEAP.hash("another password"))
        assert (await browser.authorize()).headers["location"].startswith("/sign-in")


async def test_a_disabled_user_is_told_what_everyone_is_told() -> None:
    async with running() as server, server.browser() as browser:
        await server.users.set_disabled(await ada(server), disabled=True)
        response = await browser.sign_in(await browser.to_sign_in())
        assert response.status_code == 400
        assert WRONG in response.text
        assert [event.reason for event in server.happened if isinstance(event, SignInFailed)] == [
            "user is disabled"
        ]


async def test_enabling_a_user_does_not_bring_old_sessions_back() -> None:
    async with running() as server, server.browser() as browser:
        await browser.to_code()
        await server.users.set_disabled(await ada(server), disabled=True)
        await server.users.set_disabled(await ada(server), disabled=False)
        assert (await browser.authorize()).headers["location"].startswith("/sign-in")


async def test_a_user_of_the_same_name_is_another_user() -> None:
    """The session is the user's, not the name's."""
    async with running() as server, server.browser() as browser:
        await browser.to_code()
        await server.store.take("user", "ada")
        await server.add_user("ada")
        assert (await browser.authorize()).headers["location"].startswith("/sign-in")


@pytest.mark.parametrize("field", ["next", "return_to", "redirect"])
@pytest.mark.parametrize("target", ["//evil.example", "/\\evil.example", "https:evil.example"])
async def test_the_way_on_does_not_come_from_the_form(field: str, target: str) -> None:
    """RFC 9700 §4.11: no open redirector."""
    async with running() as server, server.browser() as browser:
        page = await browser.to_sign_in()
        response = await browser.submit(page, {"username": "ada", "password": PASSWORD, field: target})
        assert response.headers["location"].startswith("/authorize?request=")


async def test_a_sign_in_form_without_its_token_is_refused() -> None:
    """Login CSRF: nobody is signed in as somebody else from another page."""
    async with running() as server, server.browser() as browser:
        page = await browser.to_sign_in()
        for token in ("", "made up"):
            values = {"username": "ada", "password": PASSWORD, "csrf": token}
            assert (await browser.submit(page, values)).status_code == 403
        async with server.browser(browser.client) as other:
            response = await other.submit(page, {"username": "ada", "password": PASSWORD})
            assert response.status_code == 403
        assert await server.store.list("session") == []


async def test_a_form_token_lasts_an_hour() -> None:
    async with running() as server, server.browser() as browser:
        page = await browser.to_sign_in()
        server.clock.advance(3601)
        response = await browser.submit(page, {"username": "ada", "password": PASSWORD})
        assert response.status_code == 403


async def test_a_login_hint_fills_in_the_user_name() -> None:
    """OpenID Connect Core §3.1.2.1: login_hint."""
    async with running() as server, server.browser() as browser:
        page = await browser.to_sign_in(login_hint='ada"><script>')
        assert form_of(page).fields["username"] == 'ada"><script>'
        assert "<script" not in page.text


async def wrong_tries(server: Running, username: str, count: int, address: str) -> list[httpx2.Response]:
    client = await server.register()
    async with server.browser(client, address=address) as browser:
        page = await browser.to_sign_in()
        return [await browser.sign_in(page, username, "wrong password") for _ in range(count)]


async def test_guessing_is_slowed_down_after_five_tries() -> None:
    """Five tries are free; the sixth has to wait, and so has the right password then."""
    async with running() as server:
        tries = await wrong_tries(server, "ada", 7, "192.0.2.7")
        assert [response.status_code for response in tries] == [400] * 5 + [429] * 2
        assert tries[-1].headers["retry-after"] == "12"
        assert "Too many tries. Try again in 12 seconds." in tries[-1].text
        async with server.browser() as browser:
            page = await browser.to_sign_in()
            assert (await browser.sign_in(page)).status_code == 429
            server.clock.advance(12)
            assert (await browser.sign_in(page)).status_code == 200


async def test_an_unknown_user_is_treated_the_same() -> None:
    """Nobody can find out who has an account by trying."""
    async with running() as server:
        known = await wrong_tries(server, "ada", 7, "192.0.2.7")
        unknown = await wrong_tries(server, "eve", 7, "192.0.2.8")
        for one, other in zip(known, unknown, strict=True):
            assert one.status_code == other.status_code
            assert form_of(one).fields.keys() == form_of(other).fields.keys()
            problem = 'role="alert">'
            assert one.text.partition(problem)[2][:60] == other.text.partition(problem)[2][:60]


async def test_twenty_tries_from_many_addresses_lock_the_name_for_a_while() -> None:
    async with running() as server:
        for number in range(4):
            await wrong_tries(server, "ada", 5, f"192.0.2.{number}")
        async with server.browser(address="198.51.100.1") as browser:
            page = await browser.to_sign_in()
            assert (await browser.sign_in(page)).status_code == 429
            server.clock.advance(30)
            assert (await browser.sign_in(page)).status_code == 200


async def lock(server: Running, username: str) -> None:
    """Use up all tries of a name, from places where nobody has signed in."""
    for number in range(4):
        await wrong_tries(server, username, 5, f"192.0.2.{number}")


async def test_nobody_elsewhere_keeps_a_user_out_where_they_have_signed_in_before() -> None:
    """Whoever knows a name could otherwise lock it for good, with a try every half minute."""
    home, elsewhere = "2001:db8:1:2::7", "203.0.113.5"
    async with running() as server:
        async with server.browser(address=home) as browser:
            await browser.to_consent()
        await lock(server, "ada")
        async with server.browser(address=elsewhere) as browser:
            assert (await browser.sign_in(await browser.to_sign_in())).status_code == 429
        for username in ("ADA", "ada"):
            async with server.browser(address="2001:db8:1:2::8") as browser:
                assert (await browser.sign_in(await browser.to_sign_in(), username)).status_code == 200
        # Guessing is as slow there as anywhere: it may be a stranger in the same office.
        tries = await wrong_tries(server, "ada", 6, home)
        assert [response.status_code for response in tries] == [400] * 5 + [429]


async def test_where_others_have_signed_in_is_no_usual_place() -> None:
    office = "198.51.100.1"
    async with running() as server:
        await server.add_user("eve")
        async with server.browser(address=office) as browser:
            await browser.sign_in(await browser.to_sign_in(), "eve")
        await wrong_tries(server, "ada", 1, office)
        await lock(server, "ada")
        async with server.browser(address=office) as browser:
            assert (await browser.sign_in(await browser.to_sign_in())).status_code == 429


async def test_a_place_is_forgotten_after_ninety_days_without_a_sign_in() -> None:
    home = "198.51.100.1"
    async with running() as server:
        for _ in range(3):
            async with server.browser(address=home) as browser:
                assert (await browser.sign_in(await browser.to_sign_in())).status_code == 200
            server.clock.advance(80 * 86400)
            await lock(server, "ada")
        server.clock.advance(11 * 86400)
        await lock(server, "ada")
        async with server.browser(address=home) as browser:
            assert (await browser.sign_in(await browser.to_sign_in())).status_code == 429


async def test_no_address_and_no_name_is_stored_with_a_place() -> None:
    async with running() as server, server.browser(address="198.51.100.1") as browser:
        await browser.to_consent()
        [(key, record)] = await server.store.list("usual_place")
        assert re.fullmatch("[0-9a-f]{64}", key)
        assert record == {}


async def test_an_ipv6_network_is_one_place_to_guess_from() -> None:
    """Somebody with one IPv6 address has 2⁶⁴: they could lock anybody out, and try one password for all."""
    async with running() as server:
        statuses = [
            response.status_code
            for number in range(4)
            for response in await wrong_tries(server, "ada", 5, f"2001:db8:1:2::{number}")
        ]
        assert statuses == [400] * 5 + [429] * 15
        async with server.browser(address="2001:db8:1:3::1") as browser:
            assert (await browser.sign_in(await browser.to_sign_in())).status_code == 200
        names = [
            await wrong_tries(server, f"user{number}", 1, f"2001:db8:9::{number}") for number in range(21)
        ]
        assert [response.status_code for [response] in names] == [400] * 20 + [429]


async def test_an_address_cannot_try_many_names() -> None:
    async with running() as server:
        statuses = [
            response.status_code
            for number in range(5)
            for response in await wrong_tries(server, f"user{number}", 5, "192.0.2.7")
        ]
        assert statuses == [400] * 20 + [429] * 5
        elsewhere = await wrong_tries(server, "ada", 1, "198.51.100.1")
        assert elsewhere[0].status_code == 400


async def test_signing_in_often_is_not_guessing() -> None:
    async with running() as server:
        for _ in range(30):
            async with server.browser() as browser:
                await browser.to_consent()


async def test_many_tries_at_once_gain_nothing() -> None:
    """A try is counted before the password is looked at."""
    async with running() as server, server.browser() as browser:
        page = await browser.to_sign_in()
        statuses: list[int] = []

        async def attempt() -> None:
            statuses.append((await browser.sign_in(page, "ada", "wrong password")).status_code)

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(attempt)
        assert sorted(statuses) == [400] * 5 + [429] * 15


class Recording(PasswordHasher):
    """Notes how much work each check was."""

    def __init__(self) -> None:
        super().__init__(time_cost=2, memory_cost=16_384, parallelism=1)
        self.checked: list[Parameters] = []

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002 - argon2's name
        self.checked.append(extract_parameters(str(hash)))
        return super().verify(hash, password)


async def test_an_unknown_user_costs_the_same_work() -> None:
    """The dummy hash has the parameters of the real ones."""
    hasher = Recording()
    passwords = Passwords(hasher)
    real = await passwords.hash(PASSWORD)
    assert not await passwords.verify(real, "wrong password")
    assert not await passwords.verify(None, "wrong password")
    known, unknown = hasher.checked
    assert known == unknown


async def test_a_hash_with_old_parameters_is_replaced_at_the_next_sign_in() -> None:
    async with running() as server, server.browser() as browser:
        old = PasswordHasher(time_cost=2, memory_cost=8, parallelism=1).hash(PASSWORD)
        await server.store.replace(
            "user",
            "ada",
            (await ada(server)).to_record(),
            replace(await ada(server), password_hash=old).to_record(),
        )
        await browser.to_consent()
        new = (await ada(server)).password_hash
        assert new is not None
        assert new != old
        assert not CHEAP.check_needs_rehash(new)
        assert "code" in answer_of(await browser.decide(await browser.follow(await browser.authorize())))


async def test_the_event_loop_is_free_while_a_password_is_checked() -> None:
    """The hash is computed in a worker thread."""
    passwords = Passwords(PasswordHasher(time_cost=4, memory_cost=32_768, parallelism=1))
    ticks = 0
    done = anyio.Event()

    async def tick() -> None:
        nonlocal ticks
        while not done.is_set():
            ticks += 1
            await anyio.sleep(0.001)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tick)
        await passwords.verify(None, "wrong password")
        done.set()
    assert ticks > 5


async def test_too_many_sign_ins_at_once_are_told_to_come_back() -> None:
    """Each hash takes memory and time: the queue has an end."""
    passwords = Passwords(CHEAP)
    refused = 0

    async def attempt(number: int) -> None:
        nonlocal refused
        try:
            await passwords.verify(None, f"password {number}")
        except TooManyHashes:
            refused += 1

    async with anyio.create_task_group() as tasks:
        for number in range(200):
            tasks.start_soon(attempt, number)
    assert refused == 200 - 4 - 64
    # And afterwards everything is as before.
    assert await passwords.verify(CHEAP.hash(PASSWORD), PASSWORD)


async def test_a_busy_server_says_so_and_does_not_count_the_try() -> None:
    clock = Clock()
    store = MemoryStore(now=clock)
    users = Users(store, now=clock)
    busy = Passwords(CHEAP)
    sign_in = PasswordSignIn(users, busy, Throttle(now=clock), UsualPlaces(store, now=clock))
    form = Form([("username", "ada"), ("password", "wrong password")])
    outcomes: list[type[Exception]] = []

    async def attempt(number: int) -> None:
        try:
            await sign_in.authenticate(form, address=f"192.0.2.{number}")
        except SignInRefused as refused:
            outcomes.append(type(refused))

    async def occupy() -> None:
        with contextlib.suppress(TooManyHashes):
            await busy.verify(None, "somebody else's")

    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(occupy)
        for number in range(30):
            tasks.start_soon(attempt, number)
    assert outcomes == [SignInDelayed] * 30
    await attempt(31)
    assert outcomes[-1] is SignInRefused


@pytest.mark.parametrize("password", ["", "short", "x" * 1025])
def test_a_password_has_between_8_and_1024_characters(password: str) -> None:
    with pytest.raises(ValueError, match="a password has at"):
        check_password(password)


@pytest.mark.parametrize("username", ["", " ada", "ada\n", "a" * 129, "a\u202eb", "a\0b"])
async def test_a_user_name_is_visible_text(username: str) -> None:
    users = Users(MemoryStore(), now=time.time)
    with pytest.raises(ValueError, match="a user name has"):
        await users.add(username, "hash")
    assert await users.list() == []


async def test_a_name_is_taken_once() -> None:
    users = Users(MemoryStore(), now=time.time)
    first = await users.add("Ada", "hash")
    assert first is not None
    assert await users.add("ADA", "hash") is None
    assert await users.by_id(first.user_id) == first
    assert await users.is_active(first.user_id)
    assert not await users.is_active("unknown")


def test_the_throttle_forgets_what_has_recovered_and_never_grows_beyond_its_size() -> None:
    clock = Clock()
    throttle = Throttle(now=clock, max_keys=10)
    pace = Pace(burst=1, interval=10)
    for number in range(100):
        assert throttle.reserve([Attempt(f"key {number}", pace)]) == 0
    assert throttle.reserve([Attempt("key 99", pace)]) == 10
    clock.advance(11)
    assert throttle.reserve([Attempt("key 99", pace)]) == 0


async def test_a_refused_try_counts_under_no_key() -> None:
    """All or nothing: a locked name does not use up what its address may."""
    throttle = Throttle(now=Clock())
    name, address = Attempt("name", Pace(1, 10)), Attempt("address", Pace(2, 10))
    assert throttle.reserve([name, address]) == 0
    assert throttle.reserve([name, address]) == 10
    assert throttle.reserve([address]) == 0


async def test_codes_are_not_given_without_a_session() -> None:
    async with running() as server, server.browser() as browser:
        await browser.sign_in(await browser.to_sign_in(), "ada", "wrong password")
        assert await kept_codes(server) == 0
