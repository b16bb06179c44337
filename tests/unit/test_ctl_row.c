#include "mgmt/ctl_row.h"

#include "amqp/amqp_table.h"
#include "expect.h"

static char room[1024];
static struct text out;
static struct ctl_row row;

static void begin(void)
{
    out = text_over(room, sizeof room);
    ctl_row_begin(&row, &out);
}

static const char *end(void)
{
    ctl_row_end(&row);
    return room;
}

Test(ctl_row, an_empty_one)
{
    begin();
    expect_text(end(), "[]\n");
}

Test(ctl_row, plain_values)
{
    begin();
    ctl_row_str(&row, "q1");
    ctl_row_u64(&row, UINT64_MAX);
    ctl_row_bool(&row, true);
    ctl_row_bool(&row, false);
    ctl_row_double(&row, 0.5);
    ctl_row_double(&row, 0.0 / 0.0);
    ctl_row_json(&row, "[0,9,1]");
    expect_text(end(), "[\"q1\",18446744073709551615,true,false,0.5,null,[0,9,1]]\n");
}

Test(ctl_row, names_of_any_octets_stay_json)
{
    begin();
    ctl_row_slice(&row, slice_of("a\"b\\c\n\x7f\xc3\xa9\xff", 10));
    expect_text(end(), "[\"a\\u0022b\\u005cc\\u000a\\u007f\xc3\xa9\xef\xbf\xbd\"]\n");
}

Test(ctl_row, tables_keep_their_types)
{
    uint8_t bytes[256];
    struct wire_out w = wire_out_over(bytes, sizeof bytes);
    amqp_table_put_i32(&w, "x-max-length", 10);
    amqp_table_put_text(&w, "x-overflow", "drop-head");
    size_t inner = amqp_table_begin(&w, "t");
    amqp_table_put_bool(&w, "yes", true);
    amqp_table_end(&w, inner);
    size_t list = amqp_array_begin(&w, "a");
    amqp_table_put_i64(&w, NULL, -1);
    amqp_table_put_void(&w, NULL);
    amqp_table_end(&w, list);
    begin();
    ctl_row_table(&row, wire_out_slice(&w));
    expect_text(end(), "[[[\"x-max-length\",\"signedint\",10],"
                       "[\"x-overflow\",\"longstr\",\"drop-head\"],"
                       "[\"t\",\"table\",[[\"yes\",\"bool\",true]]],"
                       "[\"a\",\"array\",[[\"long\",-1],[\"void\",null]]]]]\n");
}
