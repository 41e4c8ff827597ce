#!/bin/sh
# Stands in for the entrypoint of the OpenBao image: `server …` and other sub-commands go to bao, anything else runs as it is.
if [ "$1" = server ]; then
  shift
  set -- bao server -config=/openbao/config ${BAO_DEV_ROOT_TOKEN_ID:+-dev-root-token-id="$BAO_DEV_ROOT_TOKEN_ID"} \
    -dev-listen-address="${BAO_DEV_LISTEN_ADDRESS:-0.0.0.0:8200}" "$@"
elif [ "$1" != bao ] && bao "$1" -h >/dev/null 2>&1; then
  set -- bao "$@"
fi
exec "$@"
