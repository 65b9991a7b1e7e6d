"""Synthesis in stages: what does not depend on the code that is being optimised is computed once."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Array, Float

Codes = tuple[Float[Array, "..."], ...]
Image = Float[Array, "height width channels"]


@runtime_checkable
class StagedSynthesis(Protocol):
    """A generator's synthesis as a chain of stages with one code each; a pytree."""

    def codes(self, latent: Any) -> Codes:
        """Divides a latent of the generator into the codes of the stages."""
        ...

    def start(self) -> Any:
        """The state before the first stage."""
        ...

    def stage(self, state: Any, code: Array, *, index: int) -> Any:
        """The state after stage `index`; after the last one it is the image."""
        ...

    def only_adds(self, index: int) -> bool:
        """Whether all that the code of a stage changes is a term of the image."""
        ...

    def term(self, state: Any, code: Array, *, index: int) -> Image:
        """That term, from the state before the stage."""
        ...


class Prepared(NamedTuple):
    """All that `render` needs which does not depend on the code of one stage.

    Attributes:
        state: Before that stage.
        rest: The image without the stage's term, where it only adds one; else None.
    """

    state: Any
    rest: Image | None


def prepare(synthesis: StagedSynthesis, state: Any, codes: Codes, *, index: int) -> Prepared:
    """Does once what `render` for many codes of one stage would repeat.

    Args:
        synthesis: The generator in stages.
        state: Before stage `index`.
        codes: One per stage; that of stage `index` is of no consequence.
        index: The stage.

    Returns:
        What `render` takes.
    """
    if not synthesis.only_adds(index):
        return Prepared(state, None)
    image = render(synthesis, Prepared(state, None), codes, index=index)
    return Prepared(state, image - synthesis.term(state, codes[index], index=index))


def render(synthesis: StagedSynthesis, prepared: Prepared, codes: Codes, *, index: int) -> Image:
    """Renders the image from one stage on.

    Args:
        synthesis: The generator in stages.
        prepared: From `prepare` for the same stage.
        codes: One per stage; those before `index` are not read.
        index: The stage.

    Returns:
        The image, float32, about -1 to 1.
    """
    if prepared.rest is not None:
        return prepared.rest + synthesis.term(prepared.state, codes[index], index=index)
    state = prepared.state
    for following in range(index, len(codes)):
        state = synthesis.stage(state, codes[following], index=following)
    return state


def synthesize(synthesis: StagedSynthesis, codes: Codes) -> Image:
    """Renders a whole image.

    Args:
        synthesis: The generator in stages.
        codes: One per stage.

    Returns:
        The image, float32, about -1 to 1.
    """
    return render(synthesis, Prepared(synthesis.start(), None), codes, index=0)
