# Read by the scripts of the service managers: installs the project's files, with accounts, a key and a policy.
# PROJECT and BINARIES are in the environment.

set -u
good='key web /etc/keys/web.pem\npermit www-data key web\n'

install_for() {
    (cd "$PROJECT" && INIT=$1 systemd/install "$BINARIES" >/dev/null) || exit 1
    groupadd --system keyusers
    useradd --system --user-group --home-dir / --shell /usr/sbin/nologin keybroker
    install -d -m 700 /etc/keys
    (umask 077 && echo 'THE KEY' >/etc/keys/web.pem)
    printf "$good" >/etc/keybroker/keybroker.policy
}
get() {
    setpriv --reuid www-data --regid www-data --groups "$(getent group keyusers | cut -d: -f3)" keybroker get web
}
faulty() { echo 'nonsense' >>/etc/keybroker/keybroker.policy; }
mended() { printf "$good" >/etc/keybroker/keybroker.policy; }
daemon() { keybroker status --format json | sed 's/.*"pid":\([0-9]*\).*/\1/'; }
# say NAME COMMAND: what the test is told.
say() {
    local name=$1 output status
    shift
    output=$("$@" 2>/dev/null)
    status=$?
    echo "$name: $status $(tr '\n' ' ' <<<"$output")"
}
rotate() {
    logrotate --force --state /run/logrotate.state /etc/logrotate.d/keybroker || return
    # A status leaves no record each time, a key does.
    until [ -s /var/log/keybroker/audit.jsonl ]; do get >/dev/null; done
    grep -c '"previous"' /var/log/keybroker/audit.jsonl
}
left() { ps -eo comm | grep -c '^keybrokerd$'; }
