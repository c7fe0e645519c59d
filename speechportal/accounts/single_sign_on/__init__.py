"""Company sign-in (single sign-on): OpenID Connect, and a trusted header of a gateway.

``configuration`` reads the settings, ``protocol`` implements OpenID Connect, ``members`` creates users and
memberships from claims, ``session`` stores a session's tokens and rechecks them with the provider.
"""
