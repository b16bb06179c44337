"""What is known: RabbitMQ's transcripts (golden/THEME.golden), and where Warren means to differ.

`intended` holds hunks, each with its reason:

    [theme: conversation] targets
    why it is so
    - < what RabbitMQ says
    + < what Warren says

A hunk whose first half is not in the golden transcript, or whose second half Warren no longer
says, is stale: the test fails then.
"""

import difflib
import os

from talk.values import Bad


def read(path):
    """{conversation: lines}, empty when there is no such file yet."""
    out, lines = {}, None
    if not os.path.exists(path):
        return out
    with open(path, encoding="utf-8") as f:
        for line in f.read().splitlines():
            if line.startswith("["):
                lines = out.setdefault(line[1:-1], [])
            elif line:
                lines.append(line)
    return out


def write(path, transcripts):
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join("[%s]\n%s\n" % (name, "\n".join(lines))
                          for name, lines in transcripts.items()))


class Hunk:
    def __init__(self, head):
        title, _, targets = head[1:].partition("]")
        self.theme, _, self.name = title.partition(": ")
        self.targets = targets.split() or ["broker", "proxy", "threads", "remote"]
        self.why, self.old, self.new = [], [], []

    def applies(self, talk, target):
        return (self.theme, self.name) == (talk.theme, talk.name) and target in self.targets

    def applied(self, lines):
        """The transcript that is expected of Warren."""
        n = len(self.old)
        for at in range(len(lines) - n + 1):
            if n and lines[at:at + n] == self.old:
                return lines[:at] + self.new + lines[at + n:]
        raise Bad("stale in `intended`: [%s: %s] does not find\n    %s" % (
            self.theme, self.name, "\n    ".join(self.old)))


def read_intended(path):
    hunks = []
    with open(path, encoding="utf-8") as f:
        for line in f.read().splitlines():
            if line.startswith("["):
                hunks.append(Hunk(line))
            elif line.startswith("- "):
                hunks[-1].old.append(line[2:])
            elif line.startswith("+ "):
                hunks[-1].new.append(line[2:])
            elif line and not line.startswith("#"):
                hunks[-1].why.append(line)
    for h in hunks:
        if not h.why or h.old == h.new:
            raise Bad("`intended`: [%s: %s] has no reason or no difference" % (h.theme, h.name))
    return hunks


def answers(lines):
    """What came to each step, step after step."""
    out = []
    for line in lines:
        if line.startswith("> "):
            out.append([])
        elif out:
            out[-1].append(line)
    return out


def excused(talk, want, got):
    """A live RabbitMQ's transcript, with the golden answers where it gave one of those that the
    conversation knows of instead; and how many these were."""
    if [line for line in want if line[0] == ">"] != [line for line in got if line[0] == ">"]:
        return got, 0
    out, count = [], 0
    for step, ours, theirs in zip(talk.steps, answers(want), answers(got)):
        out.append("> " + step.text)
        for i, line in enumerate(theirs):
            is_known = line in step.others and i < len(ours) and line != ours[i]
            count += is_known
            out.append(ours[i] if is_known else line)
    return out, count


def differences(want, got):
    """A readable diff of two transcripts, empty when they are equal."""
    if want == got:
        return []
    return [line for line in difflib.unified_diff(want, got, "RabbitMQ", "here", lineterm="", n=3)
            if not line.startswith("@@")]
