"""The page at which a device's code is entered: who may decide about it, and how often one may guess."""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpauth.events import ConsentGiven, TokenIssued, UserCodeRefused
from mcpauth.oauth.client_metadata import DEVICE_CODE
from mcpauth.oauth.device_code import KIND
from tests.authorization_server.device_helpers import (
    WRONG_CODE,
    decide,
    device,
    device_client,
    enter,
    events,
    server_for_devices,
    to_consent,
)
from tests.authorization_server.front_helpers import Browser, form_of

pytestmark = pytest.mark.anyio

WRONG = "This code is not right, or no longer good."


async def test_the_page_asks_for_the_code_and_nothing_else_happens() -> None:
    """RFC 8628 §3.3."""
    async with server_for_devices() as server, device(server), server.browser() as browser:
        page = await browser.http.get("/device")
        assert page.status_code == 200
        assert form_of(page).fields.keys() == {"csrf", "user_code"}
        assert form_of(page).fields["user_code"] == ""
        assert page.headers["cache-control"] == "no-store"
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "form-action 'self';" in policy
        assert "<script" not in page.text
        assert "style=" not in page.text


@pytest.mark.parametrize(("dash", "lower"), [("-", False), ("", False), ("-", True)])
async def test_a_code_in_the_link_is_filled_in_and_still_has_to_be_confirmed(dash: str, lower: bool) -> None:
    """RFC 8628 §3.3.1: the user confirms that it is the code on their device."""
    async with server_for_devices() as server, device(server) as asking, server.browser() as browser:
        written = asking.user_code.replace("-", dash)
        page = await browser.http.get("/device", params={"user_code": written.lower() if lower else written})
        assert page.status_code == 200
        assert form_of(page).fields["user_code"] == asking.user_code
        assert "Is this the code that your device shows?" in page.text
        assert "Did somebody send you this code or link?" in page.text
        # A GET, however often, begins nothing.
        assert await server.store.list("authorization_request") == []
        assert (await server.store.list(KIND))[0][1]["browser"] is None
        sign_in = await browser.follow(await browser.submit(page, {}))
        assert "<h1>Sign in</h1>" in sign_in.text


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", '" autofocus onfocus="x', "A" * 5000, "\u202eXXXX", "é"]
)
async def test_whatever_else_is_in_the_link_is_shown_as_text(text: str) -> None:
    async with server_for_devices() as server, server.browser() as browser:
        page = await browser.http.get("/device", params={"user_code": text})
        assert page.status_code == 200
        assert "<script" not in page.text
        assert "\u202e" not in page.text
        assert len(form_of(page).fields["user_code"]) <= 20
        assert form_of(page).fields.keys() == {"csrf", "user_code"}


async def test_the_consent_page_says_that_a_device_elsewhere_asks() -> None:
    """RFC 8628 §5.4: inform the user that they are authorizing a device, and which code it has to show."""
    async with server_for_devices() as server, device(server) as asking, server.browser() as browser:
        sign_in = await enter(browser, asking.user_code)
        assert "<strong><bdi>Robo TV</bdi></strong> on another device" in sign_in.text
        page = await browser.sign_in(sign_in)
        assert page.status_code == 200
        for text in (
            "Allow <bdi>Robo TV</bdi> on another device to use <bdi>Team notes</bdi>?",
            "Is this the code shown on your device?",
            asking.user_code,
            "If somebody sent you the code or a link, deny",
            "Nobody has checked the name.",
            "Read your notes",
            "Change your notes",
            "https://notes.example/mcp",
            "<bdi>ada</bdi>",
        ):
            assert text in page.text, text
        assert "Returns to" not in page.text
        assert "this computer" not in page.text
        assert "form-action 'self';" in page.headers["content-security-policy"]


async def test_a_client_that_an_operator_registered_did_not_name_itself() -> None:
    async with server_for_devices() as server:
        client, _ = await server.clients.register(
            {"client_name": "Robo TV", "grant_types": [DEVICE_CODE]}, source="pre-registered"
        )
        async with device(server, client) as asking, server.browser() as browser:
            page = await to_consent(browser, asking.user_code)
            assert "named itself" not in page.text
            assert "Is this the code shown on your device?" in page.text


async def test_who_is_signed_in_already_goes_straight_to_consent() -> None:
    async with server_for_devices() as server, device(server) as first, device(server) as second:
        async with server.browser() as browser:
            await browser.decide(await to_consent(browser, first.user_code))
            page = await enter(browser, second.user_code)
            assert second.user_code in page.text
            assert first.user_code not in page.text
            await browser.decide(page)
        assert (await second.poll()).status_code == 200


async def test_the_last_page_can_be_reloaded_and_the_way_there_is_closed() -> None:
    async with server_for_devices() as server, device(server) as asking, server.browser() as browser:
        page = await to_consent(browser, asking.user_code)
        decided = await browser.submit(
            page, {"decision": "allow", **dict.fromkeys(form_of(page).checkboxes, "allow")}
        )
        answered = await browser.http.get(decided.headers["location"])
        assert answered.status_code == 303
        assert answered.headers["location"] == "/device/allowed"
        for _ in range(2):
            assert "Done, go back to your device" in (await browser.http.get("/device/allowed")).text
        # Nothing of the request is left that could be answered otherwise.
        assert (await browser.http.get(decided.headers["location"])).status_code == 400
        assert (await browser.submit(page, {"decision": "deny"})).status_code == 400
        assert (await asking.poll()).status_code == 200
        assert len(events(server, ConsentGiven)) == 1


async def test_unknown_expired_used_and_denied_codes_look_the_same() -> None:
    """Nobody can find out which codes there are."""
    async with server_for_devices() as server:
        pages: list[str] = []
        async with device(server) as used, device(server) as denied, device(server) as expired:
            await decide(server, used.user_code)
            assert (await used.poll()).status_code == 200
            await decide(server, denied.user_code, "deny")
            server.clock.advance(600)
            for code in (used.user_code, denied.user_code, expired.user_code, WRONG_CODE):
                async with server.browser() as browser:
                    response = await enter(browser, code)
                    assert response.status_code == 400
                    assert WRONG in response.text
                    form = form_of(response)
                    pages.append(response.text.replace(form.fields["csrf"], "").replace(code, ""))
        assert len(set(pages)) == 1
        assert await server.store.list("authorization_request") == []


@pytest.mark.parametrize("decision", ["allow", "deny"])
async def test_what_was_decided_cannot_be_decided_again(decision: str) -> None:
    """RFC 8628 §3.3: not even in the browser in which it was; a denied device stays denied."""
    async with server_for_devices() as server, device(server) as asking, server.browser() as browser:
        await browser.decide(await to_consent(browser, asking.user_code), decision)
        for polled in (False, True):
            again = await enter(browser, asking.user_code)
            assert (again.status_code, WRONG in again.text) == (400, True)
            if not polled:
                assert (await asking.poll()).status_code == (200 if decision == "allow" else 400)
        assert len(events(server, ConsentGiven)) == (1 if decision == "allow" else 0)
        assert await server.store.list("authorization_request") == []


async def test_a_code_that_expires_on_the_way_allows_nothing() -> None:
    async with server_for_devices() as server, device(server) as asking, server.browser() as browser:
        server.clock.advance(590)
        page = await to_consent(browser, asking.user_code)
        server.clock.advance(10)
        late = await browser.decide(page)
        assert late.status_code == 400
        assert "This code has expired" in late.text
        assert await asking.error() == "expired_token"
        assert events(server, ConsentGiven) == []


async def test_a_code_entered_twice_in_one_browser_is_decided_on_the_second_page_only() -> None:
    async with server_for_devices() as server, device(server) as asking, server.browser() as browser:
        first = await to_consent(browser, asking.user_code)
        second = await enter(browser, asking.user_code)
        late = await browser.decide(first)
        assert "This code has expired" in late.text
        assert await asking.error() == "authorization_pending"
        assert "Done" in (await browser.decide(second)).text
        assert (await asking.poll()).status_code == 200
        assert len(events(server, ConsentGiven)) == 1


# Whose decision it is.


async def test_the_user_of_one_session_cannot_approve_what_another_began() -> None:
    """Only the browser that entered the code decides: neither its link nor its forms are of use elsewhere."""
    async with server_for_devices() as server, device(server) as asking:
        await server.add_user("bob")
        async with server.browser() as bobs, server.browser() as adas:
            begun = await to_consent(bobs, asking.user_code, "bob")
            fields = form_of(begun).fields
            allow = {**fields, "decision": "allow", "scope 1 notes:read": "allow"}
            # Ada is signed in at the same server, for a device of her own.
            async with device(server, asking.client) as own:
                mine = await to_consent(adas, own.user_code)
            for path in ("/authorize", "/sign-in", "/consent"):
                opened = await adas.http.get(path, params={"request": fields["request"]})
                assert opened.status_code == 400
                assert "This page has expired" in opened.text
            assert (await adas.http.post("/consent", data=allow)).status_code == 403
            with_own_token = {**allow, "csrf": form_of(mine).fields["csrf"]}
            assert (await adas.http.post("/consent", data=with_own_token)).status_code == 403
            # Nor does the code help her: it was entered.
            assert WRONG in (await enter(adas, asking.user_code)).text
            assert await asking.error() == "authorization_pending"
            assert events(server, ConsentGiven) == []
            # Bob goes on undisturbed, and the token is his.
            await bobs.decide(begun)
            bob = await server.users.by_name("bob")
            assert bob is not None
            assert (await asking.poll()).status_code == 200
            assert [event.user_id for event in events(server, TokenIssued)] == [bob.user_id]


async def test_whoever_signs_in_later_in_the_same_browser_cannot_answer_for_who_consented() -> None:
    """The decision and the last step need one and the same user."""
    async with server_for_devices() as server, device(server) as asking, server.browser() as browser:
        await server.add_user("bob")
        page = await to_consent(browser, asking.user_code)
        other = await browser.http.get("/sign-in", params={"request": form_of(page).fields["request"]})
        boxes = dict.fromkeys(form_of(page).checkboxes, "allow")
        decided = await browser.submit(page, {"decision": "allow", **boxes})
        signed_in = await browser.submit(other, {"username": "bob", "password": "correct horse battery"})
        assert signed_in.status_code == 303
        for response in (decided, signed_in):
            assert (await browser.http.get(response.headers["location"])).status_code == 400
        assert await asking.error() == "authorization_pending"
        assert events(server, ConsentGiven) == []


async def test_of_two_browsers_with_one_code_at_once_one_goes_on() -> None:
    async with (
        server_for_devices() as server,
        device(server) as asking,
        server.browser() as one,
        server.browser() as two,
    ):
        pages = [await each.http.get("/device") for each in (one, two)]
        answers: list[int] = []

        async def submit(browser: Browser, number: int) -> None:
            response = await browser.submit(pages[number], {"user_code": asking.user_code})
            answers.append(response.status_code)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(submit, one, 0)
            tasks.start_soon(submit, two, 1)
        assert sorted(answers) == [303, 400]


@pytest.mark.parametrize("token", [None, "", "x", "a.b", "é" * 40])
async def test_a_form_without_its_token_is_refused(token: str | None) -> None:
    """RFC 9700 §4.7: another site cannot enter a code of its own into the user's browser."""
    async with server_for_devices() as server, device(server) as asking, server.browser() as browser:
        await browser.http.get("/device")
        data = {"user_code": asking.user_code} | ({} if token is None else {"csrf": token})
        response = await browser.http.post("/device", data=data)
        assert response.status_code == 403
        assert await server.store.list("authorization_request") == []


async def test_a_form_of_another_browser_or_site_is_refused() -> None:
    async with (
        server_for_devices() as server,
        device(server) as asking,
        server.browser() as browser,
        server.browser() as other,
    ):
        page = await browser.http.get("/device")
        data = {**form_of(page).fields, "user_code": asking.user_code}
        assert (await other.http.post("/device", data=data)).status_code == 403
        await other.http.get("/device")
        assert (await other.http.post("/device", data=data)).status_code == 403
        cross = await browser.http.post("/device", data=data, headers={"Sec-Fetch-Site": "cross-site"})
        assert cross.status_code == 403
        assert await server.store.list("authorization_request") == []
        assert (await browser.http.post("/device", data=data)).status_code == 303


async def test_a_client_that_lost_the_grant_type_is_not_answered_for() -> None:
    async with server_for_devices() as server, device(server) as asking, server.browser() as browser:
        page = await to_consent(browser, asking.user_code)
        client_id = asking.client.client_id
        assert await server.clients.change(
            client_id, lambda client: replace(client, grant_types=("refresh_token",))
        )
        assert (await browser.decide(page)).status_code == 400
        assert events(server, ConsentGiven) == []


# How often one may guess.


async def guess(browser: Browser, times: int) -> None:
    for _ in range(times):
        assert (await enter(browser, WRONG_CODE)).status_code == 400


async def test_five_wrong_codes_are_enough() -> None:
    """RFC 8628 §5.1: rate-limit the guesses. Even the right code waits then."""
    async with server_for_devices() as server, device(server) as asking, server.browser() as browser:
        await guess(browser, 5)
        refused = await enter(browser, asking.user_code)
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "60"
        assert "Too many tries. Try again in 60 seconds." in refused.text
        assert await server.store.list("authorization_request") == []
        reasons = [event.reason for event in events(server, UserCodeRefused)]
        assert reasons == ["wrong"] * 5 + ["too_many"]
        server.clock.advance(60)
        assert "<h1>Sign in</h1>" in (await enter(browser, asking.user_code)).text


async def test_another_browser_at_the_same_address_does_not_begin_anew() -> None:
    async with server_for_devices() as server, device(server) as asking:
        for _ in range(5):
            async with server.browser() as browser:
                await guess(browser, 1)
        async with server.browser() as browser:
            assert (await enter(browser, asking.user_code)).status_code == 429
        # Others are not locked out.
        async with server.browser(address="203.0.113.5") as browser:
            assert "<h1>Sign in</h1>" in (await enter(browser, asking.user_code)).text


async def test_another_address_with_the_same_browser_does_not_begin_anew() -> None:
    async with server_for_devices() as server, device(server) as asking, server.browser() as browser:
        await guess(browser, 5)
        cookies = "; ".join(f"{name}={value}" for name, value in browser.http.cookies.items()).encode()
        async with server.browser(address="203.0.113.5", cookie=cookies) as moved:
            assert (await enter(moved, asking.user_code)).status_code == 429


async def test_addresses_of_one_ipv6_network_count_as_one() -> None:
    async with server_for_devices() as server, device(server) as asking:
        for host in range(5):
            async with server.browser(address=f"2001:db8::{host + 1}") as browser:
                await guess(browser, 1)
        async with server.browser(address="2001:db8::ffff") as browser:
            assert (await enter(browser, asking.user_code)).status_code == 429


async def test_right_codes_are_not_counted() -> None:
    async with server_for_devices() as server, server.browser() as browser:
        client = await device_client(server)
        for _ in range(8):
            async with device(server, client) as asking:
                assert (await enter(browser, asking.user_code)).status_code == 200


async def test_guesses_at_the_same_moment_are_no_cheaper() -> None:
    async with server_for_devices() as server, server.browser() as browser:
        page = await browser.http.get("/device")
        answers: list[int] = []

        async def submit() -> None:
            answers.append((await browser.submit(page, {"user_code": WRONG_CODE})).status_code)

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(submit)
        assert sorted(answers) == [400] * 5 + [429] * 15


# Whatever is sent.

texts = st.one_of(
    st.text(max_size=60), st.sampled_from(["USER_CODE", "user_code", "csrf", "request", "resource", "allow"])
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(texts, texts), max_size=6), st.booleans())
def test_no_input_is_a_failure(pairs: list[tuple[str, str]], with_token: bool) -> None:
    """An answer of the standard or a page, never a 500."""

    async def run() -> None:
        async with server_for_devices() as server, device(server) as asking, server.browser() as browser:
            page = await browser.http.get("/device")
            sent: dict[str, list[str]] = {}
            for name, value in pairs:
                sent.setdefault(name, []).append(asking.user_code if value == "USER_CODE" else value)
            for path in ("/device", "/device/allowed", "/device/denied"):
                got = await browser.http.get(path, params=sent)
                assert got.status_code in {200, 400, 414}, got.text
            token = {"csrf": [form_of(page).fields["csrf"]]} if with_token else {}
            posted = await browser.http.post("/device", data=sent | token)
            assert posted.status_code in {303, 400, 403, 415, 429}, posted.text
            named = {"client_id": [asking.client.client_id]} if with_token else {}
            begun = await asking.http.post("/device_authorization", data=sent | named)
            assert begun.status_code in {200, 400, 401, 415}, begun.text
            polling = {"grant_type": [DEVICE_CODE], "device_code": [asking.told["device_code"]]}
            polled = await asking.http.post("/token", data=polling | sent | named)
            assert polled.status_code in {400, 401, 415}, polled.text

    anyio.run(run)


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=200))
def test_no_body_is_a_failure(body: bytes) -> None:
    async def run() -> None:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        async with server_for_devices() as server, server.browser() as browser:
            await browser.http.get("/device")
            for path in ("/device", "/device_authorization"):
                response = await browser.http.post(path, content=body, headers=form)
                assert response.status_code in {400, 401, 403}, response.text

    anyio.run(run)
