# Makes warren-bench(1) from what `warren-bench --help` prints, so that both always say the same.
#
# usage: awk -f help2man.awk WARREN-BENCH.HELP

function escape(s) { gsub(/\\/, "\\e", s); gsub(/-/, "\\-", s); sub(/^[.']/, "\\\\\\&&", s); return s }

BEGIN {
    print ".TH WARREN-BENCH 1 \"\" \"Warren\" \"User commands\""
    print ".SH NAME\nwarren\\-bench \\- load generator for AMQP 0\\-9\\-1 servers"
    print ".SH SYNOPSIS"
}

/^usage: warren-bench / {
    sub(/^usage: warren-bench /, "")
    printf ".B warren\\-bench\n%s\n", escape($0)
    print ".SH DESCRIPTION"
    print "Publishes and consumes as told, and measures what it costs and how long it takes."
    print "Each message carries an id, so that lost, duplicated and reordered ones are counted."
    next
}

# An option, its value, and what it does from column 28 on.
/^  --/ {
    if (!seen_option++)
        print ".SH OPTIONS"
    if (heading != "")
        printf ".SS %s\n", escape(heading)
    heading = ""
    what = $0
    sub(/^  --[^ ]+( [^ ]+)? */, "", what)
    option = substr($0, 3, length($0) - length(what) - 2)
    sub(/ +$/, "", option)
    split(option, words, " ")
    printf ".TP\n.BI %s", escape(words[1])
    if (words[2] != "")
        printf " \" %s\"", escape(words[2])
    printf "\n%s\n", escape(what)
    next
}
/^          / { sub(/^ +/, ""); print escape($0); next }

# A mode: its name and what it does.
/^(run|idle|churn) / {
    what = $0
    sub(/^[a-z]+ +/, "", what)
    printf ".TP\n.B %s\n%s\n", $1, escape(what)
    next
}
/^ / { sub(/^ +/, ""); print escape($0); next }

/^$/ { next }
!seen_end && /^[A-Z][a-z ]+$/ { heading = $0; next }
{
    if (!seen_end++)
        print ".SH NOTES"
    print escape($0)
}

END {
    print ".SH SEE ALSO"
    print ".BR warren\\-broker (8),"
    print ".BR warren\\-proxy (8)"
}
