# Makes a manual page of section 5 from a sample configuration, so that both always say the same.
#
# usage: awk -v program=warren-broker -f conf2man.awk SAMPLE
#
# The sample is what `conf_describe` writes: comment lines, then `#key = default`, or a [section];
# right after that perhaps an example, `key = value`.

function escape(s) { gsub(/\\/, "\\e", s); gsub(/-/, "\\-", s); sub(/^[.']/, "\\\\\\&&", s); return s }

function flush_text(    i) {
    for (i = 1; i <= lines; i++)
        print escape(text[i])
    lines = 0
}

BEGIN {
    page = program ".conf"
    printf ".TH %s 5 \"\" \"Warren\" \"File formats\"\n", toupper(page)
    printf ".SH NAME\n%s \\- configuration of %s\n", escape(page), escape(program)
    print ".SH DESCRIPTION"
    print "Sections begin with a name in brackets, and hold lines of the form \\fIkey\\fR = \\fIvalue\\fR."
    print "A line that begins with # or ; is a comment; after a value, a blank and ; begin one."
    print "A value that itself has \" ;\" in it is put in double quotes."
    print "An unknown section or key, or a bad value, is an error that names file and line."
    print ".PP"
    print "What follows each key is its default."
}

/^#[^ ].* = / || /^#[^ ].* =$/ {
    print ".TP"
    printf ".B %s\n", escape(substr($0, 2))
    flush_text()
    next
}
/^;/ { next }
/^# ?/ { line = $0; sub(/^# ?/, "", line); text[++lines] = line; next }
/^\[/ { printf ".SH \"%s\"\n", escape($0); flush_text(); next }
/^[a-z][a-z_-]* = / { printf ".PP\nFor example: \\fB%s\\fR\n", escape($0); next }
/^$/ { next }
{ printf "conf2man: %s:%d: unexpected: %s\n", FILENAME, FNR, $0 > "/dev/stderr"; bad = 1; exit 1 }

END {
    if (bad)
        exit 1
    print ".SH SEE ALSO"
    print ".BR warren\\-broker (8),"
    print ".BR warren\\-proxy (8)"
}
