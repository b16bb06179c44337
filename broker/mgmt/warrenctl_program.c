/*
 * warrenctl: the program.
 */
#include "mgmt/warrenctl.h"

int main(int argc, char **argv)
{
    return warrenctl_main(warrenctl_ctl_tables, argc, argv);
}
