#!/bin/sh
# Print the newest interpreter that the service is tested with and that can make virtual environments.
for python in python3.13 python3.12 python3.11 python3; do
  if "$python" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
    echo "$python"
    exit 0
  fi
done
echo "No Python 3.11 to 3.13 with venv was found. Debian, Ubuntu: apt-get install python3-venv. Elsewhere: pip install uv," \
  "uv python install 3.13, make install PYTHON=\$(uv python find 3.13)" >&2
exit 1
