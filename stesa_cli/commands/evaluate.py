"""``stesa evaluate``: J, F and J&F of the model, or of any method's masks, on a benchmark."""

from typing import Annotated

import typer


def evaluate(dataset: Annotated[str, typer.Option(help="x")] = "davis") -> None:
    """Score."""
