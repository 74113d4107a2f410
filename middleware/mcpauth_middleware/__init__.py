"""Access tokens, policy, rate limits and audit in front of any ASGI MCP server (RFC 6750, RFC 9728)."""

from __future__ import annotations

from mcpauth_middleware._version import __version__ as __version__
from mcpauth_middleware.audit import AuditJournal as AuditJournal
from mcpauth_middleware.audit import AuditOptions as AuditOptions
from mcpauth_middleware.audit import AuditSink as AuditSink
from mcpauth_middleware.audit import LogSink as LogSink
from mcpauth_middleware.errors import InvalidToken as InvalidToken
from mcpauth_middleware.errors import IssuerUnavailable as IssuerUnavailable
from mcpauth_middleware.handles import Handle as Handle
from mcpauth_middleware.handles import HandleRefused as HandleRefused
from mcpauth_middleware.handles import StateHandles as StateHandles
from mcpauth_middleware.limits import Limiter as Limiter
from mcpauth_middleware.limits import MemoryLimiter as MemoryLimiter
from mcpauth_middleware.limits import RateLimit as RateLimit
from mcpauth_middleware.middleware import McpAuthMiddleware as McpAuthMiddleware
from mcpauth_middleware.policy import Policy as Policy
from mcpauth_middleware.policy import PolicyError as PolicyError
from mcpauth_middleware.policy import ReloadingPolicy as ReloadingPolicy
from mcpauth_middleware.policy import Rule as Rule
from mcpauth_middleware.policy import requires as requires
from mcpauth_middleware.principal import Principal as Principal
from mcpauth_middleware.principal import current_principal as current_principal
from mcpauth_middleware.protected_resource_metadata import (
    ProtectedResourceMetadata as ProtectedResourceMetadata,
)
from mcpauth_middleware.protected_resources import ProtectedResources as ProtectedResources
from mcpauth_middleware.resource import canonical_resource as canonical_resource
from mcpauth_middleware.tokens.authorization_server import AuthorizationServer as AuthorizationServer
from mcpauth_middleware.tokens.client_credentials import ClientCredentials as ClientCredentials
from mcpauth_middleware.tokens.introspection import IntrospectionVerifier as IntrospectionVerifier
from mcpauth_middleware.tokens.jwt import JwtVerifier as JwtVerifier
from mcpauth_middleware.tokens.static import StaticTokens as StaticTokens
from mcpauth_middleware.tokens.static import static_principal as static_principal
from mcpauth_middleware.tokens.verifier import TokenVerifier as TokenVerifier
from mcpauth_middleware.upstream import TokenExchange as TokenExchange
from mcpauth_middleware.upstream import UpstreamRefused as UpstreamRefused
from mcpauth_middleware.upstream import UpstreamToken as UpstreamToken
from mcpauth_middleware.upstream import UpstreamUnavailable as UpstreamUnavailable
