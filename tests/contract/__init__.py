"""What a client may rely on, tested through XML-RPC: against the stand-in, or against any oned that ONE_XMLRPC names.

With ONE_XMLRPC and ONE_AUTH set (a file that holds oneadmin's `user:password`) the tests run there, leave it as it was,
and skip what would not. Hosts are registered under a driver that nobody has, so nothing is probed.
"""
