/** A tap device of this host, which both machines use by turns as their second card. Needs root on Linux. */
import { runCaptured } from '../host-node/setup/common.mjs';

const HOST_ADDRESS = '198.18.77.1';
const GUEST_ADDRESS = '198.18.77.2';
const PREFIX_BITS = 24;

/** In the guest: the second card gets its address. */
export const TAP_SETUP = {
  name: 'tap: address',
  command: `killall udhcpc 2>/dev/null; ip addr flush dev eth1; ip addr add ${GUEST_ADDRESS}/${PREFIX_BITS} dev eth1; ip link set eth1 up; until ping -c 1 -W 1 ${HOST_ADDRESS} > /dev/null; do :; done; echo up`,
};

export class BenchTap {
  name;
  hostAddress = HOST_ADDRESS;

  constructor(name) {
    this.name = name;
  }

  /** Makes the device; undefined where that is not permitted. */
  static open() {
    if (process.platform !== 'linux' || process.getuid?.() !== 0) return undefined;
    const tap = new BenchTap(`tap${process.pid}`);
    const commands = [
      ['tuntap', 'add', tap.name, 'mode', 'tap'],
      ['addr', 'add', `${HOST_ADDRESS}/${PREFIX_BITS}`, 'dev', tap.name],
      ['link', 'set', tap.name, 'up'],
    ];
    for (const words of commands) {
      if (runCaptured('ip', words).status === 0) continue;
      tap.close();
      return undefined;
    }
    return tap;
  }

  close() {
    runCaptured('ip', ['link', 'del', this.name]);
  }
}
