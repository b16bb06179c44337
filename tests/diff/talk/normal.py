"""What may differ from run to run, and nothing else: the one place where answers are changed
before they are compared.

- The virtual host of a conversation, and its users, have names of their own: $vhost, $alice.
- Names that a server makes: $gen1 (queues), $ctag1 (consumers), $reply1 (direct reply-to), in the
  order in which they are first seen; a later step may use them.
- The clock in x-death, and in the deaths it lists.
- Server properties say who the server is; only their capabilities are compared.
"""

import re

GENERATED = (
    ("gen", re.compile(r"amq\.gen-[A-Za-z0-9_-]{22}")),
    ("ctag", re.compile(r"amq\.ctag-[A-Za-z0-9_-]{22}")),
    ("reply", re.compile(r"amq\.rabbitmq\.reply-to\.[A-Za-z0-9_+/=.-]+")),
)
DEATH_TIME = re.compile(r"\btime: T\(\d{10}\)")


class Names:
    """One conversation's names: $name to what it stands for, and back."""

    def __init__(self, vhost, token):
        self.vhost, self.token, self.made = vhost, token, {}
        self.own = re.compile(r"%s-([a-z0-9]+)" % token)

    def mean(self, text):
        """What goes out for what a conversation says."""
        if isinstance(text, bytes) or "$" not in text:
            return text
        return re.sub(r"\$([a-z][a-z0-9]*)", lambda m: self._one(m.group(1)), text)

    def _one(self, name):
        if name == "vhost":
            return self.vhost
        return self.made.get(name, "%s-%s" % (self.token, name))

    def hide(self, line):
        """What is shown of what a server said."""
        line = self.own.sub(r"$\1", line).replace(self.token, "$vhost")
        for kind, pattern in GENERATED:
            line = pattern.sub(lambda m, kind=kind: "$" + self._known(kind, m.group()), line)
        return DEATH_TIME.sub("time: T(*)", line)

    def _known(self, kind, value):
        for name, known in self.made.items():
            if known == value:
                return name
        name = "%s%d" % (kind, 1 + sum(n.rstrip("0123456789") == kind for n in self.made))
        self.made[name] = value
        return name


def start_fields(args):
    """connection.start without what says who the server is. RabbitMQ names its mechanisms in one
    order or another from start to start."""
    capabilities = args["server_properties"].get("capabilities", {})
    mechanisms = b" ".join(sorted(args["mechanisms"].split()))
    return dict(args, server_properties={"capabilities": capabilities}, mechanisms=mechanisms)
