"""What aioamqp's tests use of asynctest, which Debian does not have and Python 3.11 broke."""

import asyncio
import inspect
import unittest

from . import mock  # noqa: F401


class TestCase(unittest.TestCase):
    """Coroutines as tests, on a loop of the test's own that setUp may use too."""

    def run(self, result=None):
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        try:
            return super().run(result)
        finally:
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.loop.run_until_complete(asyncio.sleep(0))
            self.loop.close()
            asyncio.set_event_loop(None)

    def _callTestMethod(self, method):
        if inspect.iscoroutinefunction(method):
            self.loop.run_until_complete(asyncio.wait_for(method(), 60))
        else:
            method()
