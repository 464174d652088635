"""The counterparty: a small server that behaves like payment gateways, and misbehaves on request.

It knows wire formats only. Nothing from the rest of payflow may be imported here, and nothing but the
command line and the tests may import this package: the adapters must see a gateway, never a helper.
"""
