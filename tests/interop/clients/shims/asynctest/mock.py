"""As asynctest.mock: the standard library's has learned it since."""

from unittest.mock import *  # noqa: F401,F403
from unittest.mock import AsyncMock as CoroutineMock  # noqa: F401
