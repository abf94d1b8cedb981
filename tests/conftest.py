"""What several tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from minisora.generate.model import Model

settings.register_profile("quiet", deadline=None)  # a loaded machine is no failure
settings.load_profile("quiet")


@pytest.fixture(scope="session")
def toybox() -> Model:
    """The embedded model."""
    import minisora
    from minisora.bundle import available

    if "toybox" not in available():
        pytest.skip("the embedded weights are not there")
    return minisora.load("toybox")
