#!/bin/sh
# Makes the configuration at the first start, then becomes slapd as user 911.
set -eu

if [ ! -e /etc/ldap/slapd.d/cn=config.ldif ]; then
    slapadd -n 0 -F /etc/ldap/slapd.d -l /etc/ldap/config.ldif
    chown -R 911:911 /etc/ldap/slapd.d
fi
exec "$@" -h 'ldap://0.0.0.0:8443 ldapi:///' -F /etc/ldap/slapd.d -u openldap -g openldap
