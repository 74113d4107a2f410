"""The consent step: the user sees who asks for what, and allows all of it, some or none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpauth.oauth.errors import InvalidRequest
from mcpauth.oauth.form import Form, parse_query
from mcpauth.pages.errors import lost
from mcpauth.pages.views import FIELD, AskedAt, ConsentView
from mcpauth.web.forms import read_form

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from mcpauth.endpoints.interaction import Interaction, Interactions
    from mcpauth.oauth.authorization_request import AuthorizationRequests
    from mcpauth.oauth.resource_registry import Resource, ResourceRegistry
    from mcpauth.oauth.user import User
    from mcpauth.pages import Pages


class ConsentEndpoint:
    """Shows the consent page and takes its form."""

    def __init__(
        self,
        interactions: Interactions,
        requests: AuthorizationRequests,
        registry: ResourceRegistry,
        pages: Pages,
    ) -> None:
        self._interactions = interactions
        self._requests = requests
        self._registry = registry
        self._pages = pages

    async def get(self, request: Request) -> Response:
        """The page, if it is its turn."""
        query = Form(parse_query(request.scope["query_string"]))
        interaction = await self._interactions.resume(request, query.optional("request"))
        if interaction.session is None or interaction.next_step() != "consent":
            return self._interactions.go_on(interaction.request_id)
        return self._page(request, interaction, interaction.session.user)

    async def post(self, request: Request) -> Response:
        """The decision. It is written down once, and /authorize acts on it."""
        form = await read_form(request)
        interaction = await self._interactions.submitted(request, form, "consent")
        if interaction.session is None or interaction.next_step() != "consent":
            raise lost()
        decided = await self._requests.approve(
            interaction.request_id,
            interaction.request,
            user_id=interaction.session.user.user_id,
            auth_time=interaction.session.auth_time,
            acr=interaction.session.acr,
            amr=interaction.session.amr,
            scopes=self._ticked(interaction, form),
        )
        if not decided:
            raise lost()
        return self._interactions.go_on(interaction.request_id)

    def _ticked(self, interaction: Interaction, form: Form) -> Mapping[str, Collection[str]]:
        """The scopes that the user allowed at each resource, with those that they imply; none is a no.

        Raises:
            InvalidRequest: there is no decision, or the form has a scope that was not asked for.

        """
        decision = form.required("decision")
        if decision not in {"allow", "deny"}:
            raise InvalidRequest("the decision is neither allow nor deny")
        shown = {scope.field: (asked, scope) for asked in self._asked(interaction) for scope in asked.scopes}
        ticked = [field for field in form.names() if field.startswith(FIELD)]
        if not shown.keys() >= set(ticked):
            raise InvalidRequest("the form has a scope that was not asked for")
        if decision == "deny":
            return {}
        names: dict[Resource, list[str]] = {}
        for asked, scope in (shown[field] for field in ticked):
            names.setdefault(asked.resource, []).append(scope.scope.name)
        return {
            resource.identifier: self._registry.scopes_for(resource, " ".join(each))
            for resource, each in names.items()
        }

    def _asked(self, interaction: Interaction) -> tuple[AskedAt, ...]:
        asked = [(self._registry.resolve([each.resource]), each) for each in interaction.request.asked]
        return tuple(
            AskedAt.of(number, at, each.scopes, is_identity=at == self._registry.identity)
            for number, (at, each) in enumerate(asked, start=1)
        )

    def _page(self, request: Request, interaction: Interaction, user: User) -> Response:
        view = ConsentView(
            client=interaction.facts,
            asked=self._asked(interaction),
            username=user.username,
            request_id=interaction.request_id,
            csrf=self._interactions.form_token(request, interaction.request_id, "consent"),
            user_code=interaction.request.device.user_code if interaction.request.device else None,
        )
        return self._pages.answer(view, leads_to=interaction.request.redirect_uri)
