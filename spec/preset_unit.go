package spec

// unitReload brings a bundle to Nginx Unit, which reads no files: a bundle is never changed, so there are two names that take
// turns (unit.nginx.org, Certificates, and TLS with Certbot). One that is left of a try that was cut off is deleted first.
const unitReload = `set -e
api=http://localhost
at='config/listeners/*:443/tls/certificate'
ask() { curl -fsS --unix-socket /var/run/control.unit.sock "$@"; }
now=$(ask "$api/$at")
case $now in
*'['*) echo 'the listener *:443 has several certificates: bring this one with an exec' >&2; exit 1 ;;
*'"certwright-a"'*) new=certwright-b old=certwright-a ;;
*'"certwright-b"'*) new=certwright-a old=certwright-b ;;
*) new=certwright-a old= ;;
esac
ask -X DELETE "$api/certificates/$new" >/dev/null 2>&1 || :
ask -X PUT --data-binary @/certs/combined.pem "$api/certificates/$new"
ask -X PUT -d "\"$new\"" "$api/$at"
[ -z "$old" ] || ask -X DELETE "$api/certificates/$old"
`
