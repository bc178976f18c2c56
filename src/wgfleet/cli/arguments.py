"""Arguments and options that several groups share, with what a shell completes for them."""

from typing import Annotated

import typer

from wgfleet.cli import completion

Config = Annotated[
    str, typer.Argument(help="Id or name of the config.", autocompletion=completion.names("/api/configs"))
]
SomeConfig = Annotated[
    str | None, typer.Argument(help="Id or name of the config.", autocompletion=completion.names("/api/configs"))
]
Node = Annotated[str, typer.Argument(help="Id or name of the node.", autocompletion=completion.names("/api/nodes"))]
Group = Annotated[
    str, typer.Argument(help="Id or name of the group.", autocompletion=completion.names("/api/node-groups"))
]
Peer = Annotated[
    str,
    typer.Argument(help="CONFIG/NAME, a name that one config has, or an id.", autocompletion=completion.peers),
]
Peers = Annotated[
    list[str],
    typer.Argument(help="CONFIG/NAME, a name that one config has, or an id; several.", autocompletion=completion.peers),
]
FloatingAddress = Annotated[
    str,
    typer.Argument(
        help="One of its floating addresses.",
        autocompletion=completion.names("/api/configs/{config}/floating-addresses", "address"),
    ),
]
Key = Annotated[str, typer.Argument(help="Name of the key, or its id.", autocompletion=completion.names("/api/keys"))]
User = Annotated[str, typer.Argument(help="Name or id of the user.", autocompletion=completion.names("/api/users"))]
Provider = Annotated[
    str,
    typer.Argument(help="Name or id of the provider.", autocompletion=completion.names("/api/sign-in-providers")),
]
Device = Annotated[
    str,
    typer.Argument(help="Name of the device, or its id.", autocompletion=completion.names("/api/me/devices")),
]
SomeUser = Annotated[
    str | None, typer.Argument(help="Only those of this user.", autocompletion=completion.names("/api/users"))
]
SignIn = Annotated[
    str,
    typer.Argument(
        help="Id of the sign-in, or its last characters as listed.",
        autocompletion=completion.short_ids("/api/sign-ins"),
    ),
]
Backup = Annotated[
    str,
    typer.Argument(
        help="Id of the backup, or its last characters as listed.", autocompletion=completion.short_ids("/api/backups")
    ),
]
Operation = Annotated[
    str,
    typer.Argument(
        help="Id of the operation, or its last characters as listed.",
        autocompletion=completion.short_ids("/api/operations"),
    ),
]
Certificate = Annotated[
    str,
    typer.Argument(
        help="Id of the certificate, its last characters as listed, or its serial number.",
        autocompletion=completion.short_ids("/api/certificates"),
    ),
]
SomeCertificate = Annotated[
    str | None,
    typer.Argument(
        help="Id of the certificate, or as for `show`.", autocompletion=completion.short_ids("/api/certificates")
    ),
]
OnlyConfig = Annotated[
    str | None, typer.Option(help="Only of this config.", autocompletion=completion.names("/api/configs"))
]
OnlyNode = Annotated[str | None, typer.Option(help="Only of this node.", autocompletion=completion.names("/api/nodes"))]
