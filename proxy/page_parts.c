#include "page_parts.h"

#include <string.h>

static const char style[] =
    "<style>"
    "body{font:14px/1.4 system-ui,sans-serif;margin:0 auto;max-width:90rem;padding:.8rem;"
    "color:#222;background:#fff}"
    "h1{font-size:1.3rem;margin:.2rem 0}h2{font-size:1.05rem;margin:1.2rem 0 .3rem}"
    ".w{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:13px}"
    "th,td{padding:.2rem .5rem;text-align:right;white-space:nowrap;border-bottom:1px solid #ddd}"
    "th{background:#f0f0ee;font-weight:600}th:first-child,td:first-child,.l{text-align:left}"
    ".up{background:#dff3df}.going{background:#fff3c4}.down{background:#f8d5d2}"
    ".maint{background:#e6ddd0}.drain{background:#d8e6f3}.sum{background:#f6f6f4;font-weight:600}"
    "td.q{white-space:normal;overflow-wrap:anywhere;min-width:9rem}"
    "input,button{font:inherit;padding:.3rem .5rem}input{width:min(20rem,60vw)}"
    "p.f{color:#555;margin:.2rem 0}"
    "@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}"
    "th,.sum{background:#2a2a2a}th,td{border-color:#333}.up{background:#1d3a1d}"
    ".going{background:#4a3f12}.down{background:#4d1f1c}.maint{background:#3a3227}"
    ".drain{background:#1d2f40}p.f{color:#aaa}}"
    "</style>";

void page_begin(struct text *out, const char *title, uint64_t refresh_s)
{
    text_str(out, "<!doctype html><html lang=en><head><meta charset=utf-8>"
                  "<meta name=viewport content=\"width=device-width,initial-scale=1\">");
    if (refresh_s != 0)
        text_put(out, "<meta http-equiv=refresh content=%llu>", (unsigned long long)refresh_s);
    text_put(out, "<title>%s</title>%s</head><body>", title, style);
}

void page_end(struct text *out)
{
    text_str(out, "</body></html>\n");
}

void page_text(struct text *out, struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] != '\0' && strchr("<>&\"'", s.ptr[i]) != NULL)
            text_put(out, "&#%u;", (unsigned)s.ptr[i]);
        else if (s.ptr[i] < ' ')
            text_str(out, "\xef\xbf\xbd"); /* no page may have those */
        else
            text_char(out, (char)s.ptr[i]);
    }
}

static bool is_plain(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("-._~", c) != NULL);
}

void page_query(struct text *out, struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (is_plain(s.ptr[i]))
            text_char(out, (char)s.ptr[i]);
        else
            text_put(out, "%%%02X", (unsigned)s.ptr[i]);
    }
}
