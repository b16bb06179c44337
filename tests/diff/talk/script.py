"""Conversation files: a name in brackets, then a step a line.

    [a queue that is not there]
    queue.declare q passive
    2: basic.get q                 on channel 2 of the same connection
    b: queue.declare q             on another connection; b.3: on its channel 3
    ~ channel.close 405 ...        a live RabbitMQ, whose processes race, may answer the step
                                   above so instead; Warren may not

The steps are described in play.py.
"""

import os
import re
from collections import namedtuple

from talk.values import Bad

ACTOR = re.compile(r"(?:([a-z])(?:\.(\d+))?|(\d+)):\s+")

Step = namedtuple("Step", "text conn channel verb rest others")
Talk = namedtuple("Talk", "theme name steps")


def step(text):
    found = ACTOR.match(text)
    conn, channel, body = "a", 1, text
    if found:
        conn = found.group(1) or "a"
        channel = int(found.group(2) or found.group(3) or 1)
        body = text[found.end():]
    verb, _, rest = body.partition(" ")
    return Step(text, conn, channel, verb, rest.strip(), [])


def read(path):
    """The conversations of one file, in their order."""
    theme = os.path.basename(path).rsplit(".", 1)[0]
    talks = []
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            if line.startswith("[") and line.endswith("]"):
                talks.append(Talk(theme, line[1:-1], []))
            elif not talks:
                raise Bad("%s:%d: a step before the first [name]" % (path, number))
            elif line.startswith("~ "):
                if not talks[-1].steps:
                    raise Bad("%s:%d: another answer before the first step" % (path, number))
                talks[-1].steps[-1].others.append("< " + line[2:].strip())
            else:
                talks[-1].steps.append(step(line))
    names = [t.name for t in talks]
    twice = {n for n in names if names.count(n) > 1}
    if twice:
        raise Bad("%s: two conversations are called %s" % (path, ", ".join(sorted(twice))))
    return talks
