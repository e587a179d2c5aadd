/** The small Linux that the demonstration and the guest tests boot: busybox, drivers, and one script. */
import { gzipSync } from 'node:zlib';
import { CpioWriter } from './cpio.mjs';

/** Programs of busybox that get a name of their own before /init has run; the rest are installed by it. */
const FIRST_APPLETS = ['sh', 'mount', 'mkdir', 'insmod'];

/**
 * /init. Words of the kernel's command line:
 * `webhyve.run=COMMAND` or `webhyve.run="COMMAND WITH BLANKS"` runs that instead of a shell, and prints its status;
 * `autoquit` powers off at once. The machine powers off when the shell or the command has ended.
 */
export const INIT_SCRIPT = `#!/bin/sh
export PATH=/bin:/sbin HOME=/root TERM=\${TERM:-vt100}
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
mkdir -p /dev/pts && mount -t devpts devpts /dev/pts 2>/dev/null
/bin/busybox --install -s /bin
ln -sf /proc/self/fd /dev/fd
hostname webhyve

if [ -f /lib/modules/order ]; then
  while read -r module; do
    insmod "/lib/modules/$module.ko" || echo "init: $module could not be loaded"
  done < /lib/modules/order
fi
ip link set lo up 2>/dev/null
for card in /sys/class/net/eth*; do
  [ -e "$card" ] && udhcpc -b -s /etc/udhcpc.script -i "\${card##*/}" >/dev/null 2>&1 &
done
[ -d /sys/module/button ] && acpid -l /dev/null 2>/dev/null

cmdline=$(cat /proc/cmdline)
run=$(printf '%s\\n' "$cmdline" | sed -n -e 's/.*webhyve\\.run="\\([^"]*\\)".*/\\1/p' -e t -e 's/.*webhyve\\.run=\\([^ ]*\\).*/\\1/p')

echo
echo "webhyve guest ready: Linux $(uname -r), $(nproc) processor(s), $(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo) MiB"

finish() {
  sync
  poweroff -f
  # Without ACPI there is no power switch: wait for the host to end us.
  while :; do sleep 3600; done
}

case " $cmdline " in *" autoquit "*) finish ;; esac
cd /
if [ -n "$run" ]; then
  sh -c "$run"
  echo "webhyve.run: exit status $?"
else
  echo 'A shell of busybox. "exit" or "poweroff -f" powers the machine off.'
  setsid cttyhack sh -i
fi
finish
`;

/** What busybox's DHCP client does with a lease. */
const DHCP_SCRIPT = `#!/bin/sh
case "$1" in
  deconfig) ip addr flush dev "$interface"; ip link set "$interface" up ;;
  bound | renew)
    ip addr flush dev "$interface"
    ip addr add "$ip/$mask" dev "$interface"
    [ -n "$router" ] && ip route replace default via "\${router%% *}"
    : > /etc/resolv.conf
    for server in $dns; do echo "nameserver $server" >> /etc/resolv.conf; done ;;
esac
`;

/** Run by busybox's acpid when the power button is pressed. */
const POWER_BUTTON_SCRIPT = '#!/bin/sh\nsync\nexec /bin/poweroff -f\n';

/**
 * Builds the gzip-compressed archive. `busybox` holds the bytes of a static busybox; `modules` is a list of
 * [name, bytes] in loading order.
 */
export function buildInitramfs({ busybox, modules = [] }) {
  const archive = new CpioWriter();
  for (const directory of ['bin', 'sbin', 'dev', 'etc', 'mnt', 'proc', 'root', 'sys', 'tmp', 'var/run']) {
    archive.directory(directory);
  }
  // Before devtmpfs is mounted, and on kernels without it.
  archive.characterDevice('dev/console', 5, 1);
  archive.characterDevice('dev/null', 1, 3, 0o666);
  archive.characterDevice('dev/tty', 5, 0, 0o666);
  archive.characterDevice('dev/ttyS0', 4, 64);
  archive.characterDevice('dev/random', 1, 8, 0o666);
  archive.characterDevice('dev/urandom', 1, 9, 0o666);
  archive.file('bin/busybox', busybox, 0o755);
  for (const applet of FIRST_APPLETS) archive.symlink(`bin/${applet}`, 'busybox');
  archive.file('etc/passwd', 'root::0:0:root:/root:/bin/sh\n');
  archive.file('etc/group', 'root:x:0:\n');
  archive.file('etc/acpi/PWRF/00000080', POWER_BUTTON_SCRIPT, 0o755);
  archive.file('etc/udhcpc.script', DHCP_SCRIPT, 0o755);
  archive.file('init', INIT_SCRIPT, 0o755);
  if (modules.length > 0) {
    archive.file('lib/modules/order', modules.map(([name]) => `${name}\n`).join(''));
    for (const [name, bytes] of modules) archive.file(`lib/modules/${name}.ko`, bytes);
  }
  return gzipSync(archive.finish(), { level: 9 });
}
