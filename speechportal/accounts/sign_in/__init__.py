"""Sign-in: passwords, second factors, passkeys, sessions, e-mail verification, throttling.

Why this is not django-allauth (compared with version 65.22): each of its parts is less strict than the one
here, and none can be used without the middleware and models of the others.

=====================  ================================================  ====================================
part                   django-allauth                                    here
=====================  ================================================  ====================================
TOTP replay            used codes in the cache, per process without one  last time step in the locked row
TOTP secret            plain text unless an adapter encrypts it          encrypted, bound to its user
wrong codes            counted in the cache                              counted in the database, longer waits
recovery codes         8 digits, derived from a seed, shown again        80 random bits, only digests kept
passkeys               signature counter not compared; credential left   counter stored and compared: a copied
                       in JSON, found by reading all of a user's         key is refused; unique by its ID
sessions               a second table beside Django's sessions           the session's own row, ended by its
                                                                         deletion
OpenID Connect         no nonce; ID token unverified after the exchange  nonce and signature always; all
                       of the code; unguarded ``requests``               requests by the guarded transport
e-mail verification    the link alone verifies                           the link and the signed-in user
=====================  ================================================  ====================================

Passkeys use ``fido2``, the library that allauth uses for them too.
"""
