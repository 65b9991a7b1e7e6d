"""Where directions come from."""

from jaxedit.directions import files as files
