"""Looks at a deployment from its settings file: is everything there, does every part name the others rightly?

It changes nothing that stays. Each file looks at one thing and gives findings.
"""

from __future__ import annotations
