"""The end-to-end suite's machinery: processes, sites, a raw client, test cases."""
