"""The commands of `mcpauth`, one file each."""

from __future__ import annotations

import click

from mcpauth import __version__
from mcpauth.commands.clients import clients
from mcpauth.commands.doctor import doctor
from mcpauth.commands.grants import grants
from mcpauth.commands.identities import link, unlink
from mcpauth.commands.init import init
from mcpauth.commands.keys import keys
from mcpauth.commands.policy import policy
from mcpauth.commands.registration_tokens import registration_tokens
from mcpauth.commands.serve import serve
from mcpauth.commands.users import users


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mcpauth")
def mcpauth() -> None:
    """OAuth 2.1 authorization server for the Model Context Protocol."""


for _command in (serve, init, users, clients, grants, keys, policy, registration_tokens, doctor):
    mcpauth.add_command(_command)
users.add_command(link)
users.add_command(unlink)
