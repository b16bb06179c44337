/*
 * warren-plugins: the program.
 */
#include "mgmt/warrenctl.h"

int main(int argc, char **argv)
{
    return warrenctl_main(warrenctl_plugins_tables, argc, argv);
}
