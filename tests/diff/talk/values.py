"""Values as text, both ways: what a conversation sends, and what a transcript shows.

    word  $name  "text\\n\\xff"  "a"*300      strings; $name is this conversation's own
    7  -1  1.5  true  null                    I (or l), d, t, V
    {key: value, "odd key": value}            F
    [value, value]                            A
    s(5)  x("\\x00")  T(0)  D(2, 314)           any other type by its letter

What is shown is lossless: types, order and every octet can be told from it.
"""

import re

import wire

BARE = re.compile(r"[A-Za-z0-9_.$*#/@%+-][A-Za-z0-9_.$*#/@:%+-]*")
NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][-+]?\d+)?$")
WORDS = {"true": True, "false": False, "null": None}
ESCAPES = {"n": b"\n", "r": b"\r", "t": b"\t", '"': b'"', "\\": b"\\"}
LETTERS = "bBsuIilfdTxSDtFAV"
SHOWN_MAX = 4096


class Bad(Exception):
    """A conversation that cannot be read."""


class Scanner:
    """Reads values off one line; `names` turns $name into what it stands for."""

    def __init__(self, line, names=None):
        self.line, self.at, self.names = line, 0, names or (lambda text: text)

    def fail(self, why):
        raise Bad("%s at column %d of: %s" % (why, self.at + 1, self.line))

    def blanks(self):
        while self.at < len(self.line) and self.line[self.at] in " \t":
            self.at += 1

    def at_end(self):
        self.blanks()
        return self.at == len(self.line)

    def peek(self):
        self.blanks()
        return self.line[self.at:self.at + 1]

    def takes(self, text):
        self.blanks()
        if not self.line.startswith(text, self.at):
            return False
        self.at += len(text)
        return True

    def needs(self, text):
        if not self.takes(text):
            self.fail("%r expected" % text)

    def match(self, pattern):
        found = re.compile(pattern).match(self.line, self.at)
        if found:
            self.at = found.end()
        return found

    def rest(self):
        out, self.at = self.line[self.at:].strip(), len(self.line)
        return out

    def word(self):
        """A bare word, or None."""
        self.blanks()
        found = BARE.match(self.line, self.at)
        if not found:
            return None
        self.at = found.end()
        return found.group()

    def string(self):
        """A quoted one, as text where it is UTF-8."""
        self.needs('"')
        out = bytearray()
        while not self.line.startswith('"', self.at):
            if self.at >= len(self.line):
                self.fail("string without its end")
            c = self.line[self.at]
            self.at += 1
            out += self._escape() if c == "\\" else c.encode()
        self.at += 1
        if self.match(r"\*(?=\d)"):
            out *= int(self.match(r"\d+").group())
        return self.names(wire.text(bytes(out)))

    def _escape(self):
        c = self.line[self.at:self.at + 1]
        self.at += 1
        if c == "x":
            self.at += 2
            return bytes([int(self.line[self.at - 2:self.at], 16)])
        return ESCAPES.get(c) or self.fail("unknown escape")

    def plain(self):
        """A field's value: words stay words."""
        if self.peek() in '"{[':
            return self.value()
        word = self.word()
        if word is None:
            self.fail("a value expected")
        return self.names(word)

    def value(self):
        """A table's value: words have types."""
        c = self.peek()
        if c == '"':
            return self.string()
        if c == "{":
            return self.table()
        if c == "[":
            self.needs("[")
            return self._until("]", self.value)
        tagged = self.match(r"([%s])\(" % LETTERS)
        if tagged:
            values = self._until(")", self.value)
            return wire.Tagged(tagged.group(1), values[0] if len(values) == 1 else tuple(values))
        return self._typed(self.word() or self.fail("a value expected"))

    def _typed(self, word):
        if word in WORDS:
            return WORDS[word]
        if NUMBER.match(word):
            return float(word) if re.search(r"[.eE]", word) else int(word)
        return self.names(word)

    def table(self):
        self.needs("{")
        return dict(self._until("}", self._pair))

    def _pair(self):
        if self.peek() == '"':
            key = self.string()
        else:
            found = self.match(r"[A-Za-z0-9_.$*#/@%+-]+") or self.fail("a key expected")
            key = self.names(found.group())
        self.needs(":")
        return key, self.value()

    def _until(self, end, item):
        out = []
        while not self.takes(end):
            out.append(item())
            self.blanks()
            if self.peek() != end:
                self.needs(",")
        return out


def quoted(value):
    raw = wire.octets(value)
    if len(raw) > 64 and len(set(raw)) == 1:
        return "%s*%d" % (quoted(raw[:1]), len(raw))
    text = wire.text(raw)
    if isinstance(text, bytes):
        shown = "".join(chr(b) if 32 <= b < 127 and chr(b) not in '"\\' else "\\x%02x" % b
                        for b in text)
    else:
        shown = "".join(_shown_char(c) for c in text)
    if len(shown) > SHOWN_MAX:
        shown = shown[:SHOWN_MAX] + "...%d octets" % len(raw)
    return '"%s"' % shown


def _shown_char(c):
    if c in '"\\':
        return "\\" + c
    return c if c.isprintable() else "".join("\\x%02x" % b for b in c.encode())


def show_plain(value):
    """A method's field."""
    if isinstance(value, dict):
        return show(value)
    if isinstance(value, str) and len(value) <= 64 and BARE.fullmatch(value):
        return value
    return str(value) if isinstance(value, int) else quoted(value)


def show(value):
    """A table's value, wrapped in Tagged by the decoder or not."""
    tag, v = value if isinstance(value, wire.Tagged) else (wire._tag_of(value), value)
    if tag == "S":
        bare = isinstance(v, str) and BARE.fullmatch(v) and not NUMBER.match(v) and v not in WORDS
        return v if bare else quoted(v)
    if tag == "F":
        return "{%s}" % ", ".join("%s: %s" % (_shown_key(k), show(e)) for k, e in v.items())
    if tag == "A":
        return "[%s]" % ", ".join(show(e) for e in v)
    if tag == "t":
        return "true" if v else "false"
    if tag == "V":
        return "null"
    if tag == "I":
        return str(v)
    if tag == "d":
        return repr(v)
    if tag == "D":
        return "D(%d, %d)" % v
    return "%s(%s)" % (tag, quoted(v) if isinstance(v, (str, bytes)) else v)


def _shown_key(key):
    bare = isinstance(key, str) and re.fullmatch(r"[A-Za-z0-9_.$*#/@%+-]+", key)
    return key if bare else quoted(key)
