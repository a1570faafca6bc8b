# The life of the service under OpenRC.
. "$PROJECT/Tests/OperationsTests/Scripts/common.sh"
install_for openrc
# What OpenRC makes when it boots.
mkdir -p /run/openrc/{started,starting,stopping,inactive,wasinactive,hotplugged,coldplugged,failed,scheduled,options,exclusive,daemons,tmp}
touch /run/openrc/softlevel

faulty
say faulty-start rc-service keybrokerd start
mended
say start rc-service keybrokerd start
say get get
say account ps -o user:12= -p "$(daemon)"
say log stat -c '%a %U %G' /var/log/keybroker/audit.jsonl
say status rc-service keybrokerd status
faulty
say faulty-reload rc-service keybrokerd reload
say still get
mended
say reload rc-service keybrokerd reload
say rotate rotate
kill -KILL "$(daemon)"
say after-kill keybroker list --wait 20
say verify keybroker audit verify /var/log/keybroker/audit.jsonl.1 /var/log/keybroker/audit.jsonl
say messages grep -c 'goes on in a new audit log' /var/log/keybrokerd.log
say restart rc-service keybrokerd restart
say get-after get
say stop rc-service keybrokerd stop
say left left
(cd "$PROJECT" && systemd/install --remove "$BINARIES") >/dev/null
say removed test ! -e /etc/init.d/keybrokerd
