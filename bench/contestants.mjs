/** The two machines that are compared, as command lines: the same kernel, initramfs, memory, disks and one processor. */
import { join } from 'node:path';
import { root, runCaptured } from '../host-node/setup/common.mjs';

/** cryptomgr.notests leaves out the kernel's self-tests of its ciphers, as `npm start` does. */
const KERNEL_WORDS = 'console=ttyS0 cryptomgr.notests';
const MEMORY = '512M';
/** A whole Debian's: nothing of its start is printed before the prompt. */
const DEBIAN_WORDS = 'console=ttyS0 root=/dev/vda rw quiet loglevel=1 systemd.show_status=0 cryptomgr.notests';
const DEBIAN_MEMORY = '1G';

/** webhyve with one vCPU on a thread of its own. `tap` is the device of a second card, if there is one. */
export function webhyve({ kernel, initrd }, tap) {
  return {
    name: 'webhyve',
    command: process.execPath,
    args: [
      join(root, 'dist/bin/bhyve.js'),
      ...['-A', '-H', '-u', '-c', '1', '-m', MEMORY, '-s', '0,hostbridge', '-s', '31,lpc', '-l', 'com1,stdio'],
      ...['-s', '3,virtio-net,slirp,open,allow=loopback'],
      ...(tap === undefined ? [] : ['-s', `4,virtio-net,${tap}`]),
      ...['-f', `kexec,${kernel},${initrd},${KERNEL_WORDS}`, `bench${process.pid}`],
    ],
  };
}

/** QEMU's translator of x86 to the host's instructions. */
export function qemuTcg({ kernel, initrd }, tap) {
  return {
    name: 'qemu-tcg',
    command: 'qemu-system-x86_64',
    args: [
      ...['-accel', 'tcg', '-m', MEMORY, '-smp', '1', '-nodefaults', '-display', 'none', '-no-reboot'],
      ...['-netdev', 'user,id=net', '-device', 'virtio-net-pci,netdev=net,romfile='],
      ...(tap === undefined ? [] : tapCard(tap)),
      ...['-serial', 'stdio', '-kernel', kernel, '-initrd', initrd, '-append', KERNEL_WORDS],
    ],
  };
}

const tapCard = (tap) => [
  ...['-netdev', `tap,id=tap,ifname=${tap},script=no,downscript=no`],
  ...['-device', 'virtio-net-pci,netdev=tap,romfile='],
];

/** A Debian from its disk, with a second disk of programs; what it writes is forgotten. `words` are further ones of the command line. */
export function debianWebhyve({ kernel, initrd, disk, programs }, words) {
  return {
    name: 'webhyve',
    command: process.execPath,
    args: [
      join(root, 'dist/bin/bhyve.js'),
      ...['-A', '-H', '-u', '-c', '1', '-m', DEBIAN_MEMORY, '-s', '0,hostbridge', '-s', '31,lpc', '-l', 'com1,stdio'],
      ...['-s', `2,virtio-blk,${disk},snapshot=1`, '-s', `3,virtio-blk,${programs},ro`, '-s', '4,virtio-rnd'],
      ...[
        '-s',
        '5,virtio-net,slirp',
        ...words,
        '-f',
        `kexec,${kernel},${initrd},${DEBIAN_WORDS}`,
        `bench${process.pid}`,
      ],
    ],
  };
}

export function debianQemuTcg({ kernel, initrd, disk, programs }) {
  return {
    name: 'qemu-tcg',
    command: 'qemu-system-x86_64',
    args: [
      ...['-accel', 'tcg', '-m', DEBIAN_MEMORY, '-smp', '1', '-nodefaults', '-display', 'none', '-no-reboot'],
      ...['-drive', `file=${disk},format=raw,if=virtio,snapshot=on`],
      ...['-drive', `file=${programs},format=raw,if=virtio,read-only=on`, '-device', 'virtio-rng-pci'],
      ...['-netdev', 'user,id=net', '-device', 'virtio-net-pci,netdev=net,romfile='],
      ...['-serial', 'stdio', '-kernel', kernel, '-initrd', initrd, '-append', DEBIAN_WORDS],
    ],
  };
}

/** First line of QEMU's --version, or undefined when it is not installed. */
export function qemuVersion() {
  const { status, stdout } = runCaptured('qemu-system-x86_64', ['--version']);
  return status === 0 ? stdout.toString().split('\n')[0] : undefined;
}
