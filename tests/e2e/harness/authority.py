"""Certificates of a test's own: an authority, whom it vouches for, and clients that show them."""

import os
import ssl

from harness import procs
from harness.servers import write

CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


def _openssl(*argv):
    out = procs.run(["openssl", *argv])
    if out.returncode:
        raise AssertionError("openssl %s\n%s" % (argv, out.stderr))


class Authority:
    def __init__(self, folder, name="ca"):
        self.folder, self.name = folder, name
        _openssl("req", "-x509", *CURVE, "-days", "2", "-subj", "/CN=" + name,
                 "-keyout", self.file(name + ".key"), "-out", self.file(name + ".pem"))

    def file(self, leaf):
        return os.path.join(self.folder, leaf)

    @property
    def pem(self):
        return self.file(self.name + ".pem")

    def make(self, leaf, subject, extra="basicConstraints=CA:FALSE"):
        """The path of a file with a certificate and its key."""
        base = self.file(leaf)
        _openssl("req", *CURVE, "-subj", subject, "-keyout", base + ".key", "-out", base + ".csr")
        _openssl("x509", "-req", "-in", base + ".csr", "-days", "2", "-CA", self.pem, "-CAkey",
                 self.file(self.name + ".key"), "-CAcreateserial", "-extfile",
                 write(base + ".ext", extra + "\n"), "-out", base + ".crt")
        text = "".join(open(base + end).read() for end in (".crt", ".key"))
        return write(base + ".pem", text)

    def context(self, cert=None):
        """For a client that trusts this authority, and shows what is in that file."""
        context = ssl.create_default_context(cafile=self.pem)
        if cert:
            context.load_cert_chain(cert)
        return context
