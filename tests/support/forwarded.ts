/** Clients on this host of a guest's services that a forwarding of the user-mode network leads to: ssh and iperf3. */
import { readFileSync } from 'node:fs';
import { hostHas, hostRun } from './host-programs.ts';

/** Why these clients cannot run here; undefined when they can. */
export function forwardedClientsMissing(): string | undefined {
  const missing = [
    ['ssh', '-V', 'openssh-client'],
    ['ssh-keygen', '-?', 'openssh-client'],
    ['iperf3', '-v', 'iperf3'],
  ].find(([program = '', word = '']) => !hostHas(program, word));
  return missing && `${missing[0]} is not installed (package ${missing[2]})`;
}

/** Makes a key pair at a path. Resolves to the public key's line for authorized_keys. */
export async function makeSshKey(path: string): Promise<string> {
  await hostRun('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', path]);
  return readFileSync(`${path}.pub`, 'utf8').trim();
}

/** Runs a shell command as root by ssh to a port of this host; resolves to its output. */
export function overSsh(port: number, key: string, command: string): Promise<string> {
  const options = ['StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'LogLevel=ERROR', 'ConnectTimeout=120'];
  const words = options.flatMap((option) => ['-o', option]);
  return hostRun('ssh', ['-p', `${port}`, '-i', key, ...words, 'root@127.0.0.1', command]);
}

/** iperf3 to a server behind a port of this host, or from it; resolves to Mbit/s. */
export async function iperfForwarded(port: number, seconds: number, direction: 'to' | 'from'): Promise<number> {
  const words = ['-c', '127.0.0.1', '-p', `${port}`, '-t', `${seconds}`, '-J', ...(direction === 'from' ? ['-R'] : [])];
  return mbitOf(await hostRun('iperf3', words));
}

/** Mbit/s that iperf3 says (-J) were received. Throws what it says when it measured nothing. */
export function mbitOf(output: string): number {
  const { end, error } = JSON.parse(output) as {
    end: { sum_received?: { bits_per_second: number } };
    error?: string;
  };
  if (!end.sum_received) throw new Error(`iperf3: ${error ?? output}`);
  return end.sum_received.bits_per_second / 1e6;
}
