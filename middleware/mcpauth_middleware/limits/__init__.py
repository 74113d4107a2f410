"""How often: rate limits."""

from __future__ import annotations

from mcpauth_middleware.limits.limiter import Debit as Debit
from mcpauth_middleware.limits.limiter import Debits as Debits
from mcpauth_middleware.limits.limiter import Limiter as Limiter
from mcpauth_middleware.limits.limiter import LimitResult as LimitResult
from mcpauth_middleware.limits.limiter import LimitState as LimitState
from mcpauth_middleware.limits.memory import MemoryLimiter as MemoryLimiter
from mcpauth_middleware.limits.rate_limit import RateLimit as RateLimit
