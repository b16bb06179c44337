"""What an administrator does to the server under test, by its command line tool: warrenctl takes
rabbitmqctl's commands."""

import json


class Admin:
    def __init__(self, site):
        self.site = site

    def ctl(self, *args):
        if self.site.rabbit is not None:
            return self.site.rabbit.ctl(*args)
        out = self.site.broker.ctl("-q", *args)
        if out.returncode:
            raise AssertionError("warrenctl %s: %s" % (args, out.stderr))
        return out.stdout

    def add_user(self, name, password, *tags):
        self.ctl("add_user", name, password)
        if tags:
            self.ctl("set_user_tags", name, *tags)

    def change_password(self, name, password):
        self.ctl("change_password", name, password)

    def delete_user(self, name):
        self.ctl("delete_user", name)

    def add_vhost(self, name):
        self.ctl("add_vhost", name)

    def delete_vhost(self, name):
        self.ctl("delete_vhost", name)

    def permit(self, user, configure=".*", write=".*", read=".*", vhost="/"):
        self.ctl("set_permissions", "-p", vhost, user, configure, write, read)

    def forbid(self, user, vhost="/"):
        self.ctl("clear_permissions", "-p", vhost, user)

    def permit_topic(self, user, exchange, write, read, vhost="/"):
        self.ctl("set_topic_permissions", "-p", vhost, user, exchange, write, read)

    def forbid_topics(self, user, vhost="/"):
        self.ctl("clear_topic_permissions", "-p", vhost, user)

    def limit_vhost(self, vhost, key, value):
        self.ctl("set_vhost_limits", "-p", vhost, json.dumps({key: value}))

    def unlimit_vhost(self, vhost):
        self.ctl("clear_vhost_limits", "-p", vhost)

    def limit_user(self, user, key, value):
        self.ctl("set_user_limits", user, json.dumps({key: value}))

    def unlimit_user(self, user, key):
        self.ctl("clear_user_limits", user, key)
