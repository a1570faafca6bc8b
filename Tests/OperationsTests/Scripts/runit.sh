# The life of the service under runit.
. "$PROJECT/Tests/OperationsTests/Scripts/common.sh"
install_for runit
mkdir /run/service
export SVDIR=/run/service
runsvdir -P /run/service >/dev/null 2>&1 &
manager=$!
ln -s /etc/sv/keybrokerd /run/service/
until sv status keybrokerd 2>/dev/null | grep -q '^run'; do sleep 0.05; done

say start sv -w 20 start keybrokerd
say check sv check keybrokerd
say get get
say account ps -o user:12= -p "$(daemon)"
say log stat -c '%a %U %G' /var/log/keybroker/audit.jsonl
faulty
say faulty-reload keybroker reload
say signal sv reload keybrokerd
until grep -q 'stays in force' /var/log/runit/keybrokerd/current; do sleep 0.05; done
say still get
mended
say reload keybroker reload
say rotate rotate
kill -KILL "$(daemon)"
say after-kill keybroker list --wait 20
say verify keybroker audit verify /var/log/keybroker/audit.jsonl.1 /var/log/keybroker/audit.jsonl
say messages grep -c 'goes on in a new audit log' /var/log/runit/keybrokerd/current
say messages-of stat -c '%U' /var/log/runit/keybrokerd/current
say stop sv stop keybrokerd
say left left
# A faulty policy is tried again until it is mended.
faulty
say faulty-start sv -w 2 start keybrokerd
mended
say mended sv -w 20 start keybrokerd
say get-after get
# First what would start it again. (It may have inherited that it ignores other signals.)
kill -KILL "$manager"
wait "$manager" 2>/dev/null
say exit sv -w 20 exit keybrokerd
say left-at-the-end left
say processes ps -eo stat,pid,ppid,comm
(cd "$PROJECT" && systemd/install --remove "$BINARIES") >/dev/null
say removed test ! -e /etc/sv/keybrokerd/run
