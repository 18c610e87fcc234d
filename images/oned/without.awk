# awk -f without.awk OURS SHIPPED: prints SHIPPED without the assignments whose names OURS has.
#
# Follows oned's own grammar (template_parser.l): a statement is NAME = VALUE; a vector ends at the ] outside quotes, a
# quoted value may span lines, # starts a comment outside quotes.

# Walks one line; `depth` counts open brackets, `quoted` an open string.
function scan(text,   i, c) {
    for (i = 1; i <= length(text); i++) {
        c = substr(text, i, 1)
        if (quoted) {
            if (c == "\\" && substr(text, i + 1, 1) == "\"") i++
            else if (c == "\"") quoted = 0
        } else if (c == "\"") quoted = 1
        else if (c == "#") return
        else if (c == "[") depth++
        else if (c == "]") depth--
    }
}

function name_of(text,   parts) {
    split(text, parts, "=")
    gsub(/[ \t]/, "", parts[1])
    return toupper(parts[1])
}

# A new statement can start here; otherwise the line belongs to the one before.
depth == 0 && !quoted && !valueless {
    dropping = 0
    if ($0 ~ /^[ \t]*[A-Za-z0-9_]+[ \t]*=/) {
        if (FILENAME == ARGV[1]) ours[name_of($0)] = 1
        else dropping = (name_of($0) in ours)
    }
}

{
    if (FILENAME != ARGV[1] && !dropping) print
    if ($0 ~ /^[ \t]*[A-Za-z0-9_]+[ \t]*=[ \t]*$/) valueless = 1
    else if ($0 ~ /[^ \t]/) valueless = 0
    scan($0)
}
