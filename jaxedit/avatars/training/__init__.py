"""How the networks and directions of the avatars were made, and measured on renders that none of them saw.

`python -m jaxedit.cli.avatars` runs it; the model card holds the commands and what they gave.
"""
