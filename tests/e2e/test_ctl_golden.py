"""One conversation, command by command, with what rabbitmqctl 3.10.8 said to it: text, order and
exit codes. golden/rabbitmqctl.json was recorded with a RabbitMQ of the same node name; what differs
on purpose is listed here, with the reason."""

import json
import os

from harness import procs
from harness.case import Case
from harness.servers import CTL_BIN

TARGETS = ("broker",)

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden", "rabbitmqctl.json")

# The command, as it was given: why only its exit code is compared.
DIFFERENT = {
    "list_vhosts name tracing": "comes after trace_on, see below",
    "sync_queue q1": "names the queue that is not there, behind not_found",
    "cancel_sync_queue q1": "the same",
    "stop_app": "says \"Stopping node ...\", as the tutorials have it",
}
# What Warren cannot do, and says so.
REFUSED = {
    "trace_on": "messages are not copied",
    "trace_on -p v1": "messages are not copied",
}
UNAVAILABLE = 69
DONE = "...done."  # ends what did so in the tutorials; rabbitmqctl 3.10 does not say it any more


def key_of(args):
    return " ".join(args)


def lines_of(text):
    """A list's rows come in any order; what is said before them stands first."""
    lines = text.splitlines()
    return sorted(lines[:-1] if lines[-1:] == [DONE] else lines)


class Golden(Case):
    def link(self):
        """As contrib/rabbitmq-compat installs it: the name is that of the command that is shown."""
        path = os.path.join(self.folder("bin"), "rabbitmqctl")
        os.symlink(CTL_BIN, path)
        return path

    def test_every_command_says_what_rabbitmqctl_says(self):
        ctl, broker, wrong = self.link(), self.site.broker, []
        with open(GOLDEN) as f:
            golden = json.load(f)
        for g in golden:
            got = procs.run([ctl, *g["args"]], env=broker.env())
            key = key_of(g["args"])
            want, said = (g["code"],), (got.returncode,)
            if key in REFUSED:
                want = (UNAVAILABLE,)
            elif key not in DIFFERENT:
                want += (lines_of(g["out"]), lines_of(g["err"]))
                said += (lines_of(got.stdout), lines_of(got.stderr))
            if want != said:
                wrong.append("%s\n  rabbitmqctl %d %r %r\n  warrenctl   %d %r %r" % (
                    key, g["code"], g["out"], g["err"], got.returncode, got.stdout, got.stderr))
        self.assertEqual(wrong, [], "\n" + "\n".join(wrong))
