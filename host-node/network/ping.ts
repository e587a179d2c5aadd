/** ICMP echo to the world: raw sockets need rights that a user does not have, the system's ping program has them. */
import { spawn } from 'node:child_process';

const TIMEOUT_S = 5;

/** True when the address answered. Rejects where there is no ping program. */
export function ping(address: string): Promise<boolean> {
  const words = process.platform === 'win32' ? ['-n', '1', address] : ['-n', '-c', '1', address];
  return new Promise((resolve, reject) => {
    const child = spawn('ping', words, { stdio: 'ignore', timeout: TIMEOUT_S * 1000 });
    child.unref();
    child.once('error', reject);
    child.once('exit', (code) => resolve(code === 0));
  });
}
