"""Who may do what: rules, scopes, conditions, decisions."""

from __future__ import annotations

from mcpauth_middleware.policy.client_match import ClientMatch as ClientMatch
from mcpauth_middleware.policy.decide import Decision as Decision
from mcpauth_middleware.policy.decorators import requires as requires
from mcpauth_middleware.policy.errors import PolicyError as PolicyError
from mcpauth_middleware.policy.explain import Explanation as Explanation
from mcpauth_middleware.policy.facts import Context as Context
from mcpauth_middleware.policy.facts import ToolFacts as ToolFacts
from mcpauth_middleware.policy.finding import Finding as Finding
from mcpauth_middleware.policy.policy import Policy as Policy
from mcpauth_middleware.policy.reload import ReloadingPolicy as ReloadingPolicy
from mcpauth_middleware.policy.rules import Rule as Rule
from mcpauth_middleware.policy.time_window import TimeWindow as TimeWindow
