"""Sign-in with a company's own accounts: OpenID Connect, and a trusted header of a gateway.

``configuration`` reads the settings, ``protocol`` talks to the provider, ``members`` makes users and
memberships of claims, ``session`` keeps what a session needs of the provider and checks it again.
"""
