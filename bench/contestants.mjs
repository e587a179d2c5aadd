/** The two machines that are compared, as command lines: the same kernel, initramfs, memory, disks and one processor. */
import { join } from 'node:path';
import { root, runCaptured } from '../host-node/setup/common.mjs';

/** cryptomgr.notests leaves out the kernel's self-tests of its ciphers, as `npm start` does. */
const KERNEL_WORDS = 'console=ttyS0 cryptomgr.notests';
const MEMORY = '512M';
/** A whole Debian's: nothing of its start is printed before the prompt. */
const DEBIAN_WORDS = 'console=ttyS0 root=/dev/vda rw quiet loglevel=1 systemd.show_status=0 cryptomgr.notests';
const DEBIAN_MEMORY = '1G';

/** webhyve with one vCPU on a thread of its own, and with further words before the kernel's. */
function bhyve({ kernel, initrd }, memory, words, kernelWords) {
  return {
    name: 'webhyve',
    command: process.execPath,
    args: [
      join(root, 'dist/bin/bhyve.js'),
      ...['-A', '-H', '-u', '-c', '1', '-m', memory, '-s', '0,hostbridge', '-s', '31,lpc', '-l', 'com1,stdio'],
      ...[...words, '-f', `kexec,${kernel},${initrd},${kernelWords}`, `bench${process.pid}`],
    ],
  };
}

/** QEMU's translator of x86 to the host's instructions, likewise. */
function qemu({ kernel, initrd }, memory, words, kernelWords) {
  return {
    name: 'qemu-tcg',
    command: 'qemu-system-x86_64',
    args: [
      ...['-accel', 'tcg', '-m', memory, '-smp', '1', '-nodefaults', '-display', 'none', '-no-reboot'],
      ...['-netdev', 'user,id=net', '-device', 'virtio-net-pci,netdev=net,romfile=', ...words],
      ...['-serial', 'stdio', '-kernel', kernel, '-initrd', initrd, '-append', kernelWords],
    ],
  };
}

/** The small guest. `tap` is the device of a second card, if there is one. */
export function webhyve(guest, tap) {
  const words = ['-s', '3,virtio-net,slirp,open,allow=loopback'];
  if (tap !== undefined) words.push('-s', `4,virtio-net,${tap}`);
  return bhyve(guest, MEMORY, words, KERNEL_WORDS);
}

export function qemuTcg(guest, tap) {
  return qemu(guest, MEMORY, tap === undefined ? [] : tapCard(tap), KERNEL_WORDS);
}

const tapCard = (tap) => [
  ...['-netdev', `tap,id=tap,ifname=${tap},script=no,downscript=no`],
  ...['-device', 'virtio-net-pci,netdev=tap,romfile='],
];

/** A Debian from its disk, with a second disk of programs; what it writes is forgotten. `words` are further ones of the command line. */
export function debianWebhyve(guest, words) {
  const devices = [
    ...['-s', `2,virtio-blk,${guest.disk},snapshot=1`, '-s', `3,virtio-blk,${guest.programs},ro`],
    ...['-s', '4,virtio-rnd', '-s', '5,virtio-net,slirp'],
  ];
  return bhyve(guest, DEBIAN_MEMORY, [...devices, ...words], DEBIAN_WORDS);
}

export function debianQemuTcg(guest) {
  const devices = [
    ...['-drive', `file=${guest.disk},format=raw,if=virtio,snapshot=on`],
    ...['-drive', `file=${guest.programs},format=raw,if=virtio,read-only=on`, '-device', 'virtio-rng-pci'],
  ];
  return qemu(guest, DEBIAN_MEMORY, devices, DEBIAN_WORDS);
}

/** First line of QEMU's --version, or undefined when it is not installed. */
export function qemuVersion() {
  const { status, stdout } = runCaptured('qemu-system-x86_64', ['--version']);
  return status === 0 ? stdout.toString().split('\n')[0] : undefined;
}
