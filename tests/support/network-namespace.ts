/** A network namespace of Linux whose only card is a tap device: the host's own kernel as the guest of a network. Needs root. */
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import type { NetworkBackend, NetworkPort } from '../../devices/backends/network.ts';
import { TapBackend } from '../../host-node/network/tap-backend.ts';

let count = 0;

/** Why there can be no namespace here; undefined when there can. */
export function namespaceMissing(): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'network namespaces need root on Linux';
  if (spawnSync('ip', ['-V']).status !== 0) return 'ip is missing (package iproute2)';
  const name = `webhyve-probe-${process.pid}`;
  const { status, stderr } = spawnSync('ip', ['netns', 'add', name], { encoding: 'utf8' });
  if (status !== 0) return `no network namespace can be made: ${stderr.trim()}`;
  execFileSync('ip', ['netns', 'del', name]);
  return undefined;
}

/** Two cables' ends plugged into one another: a frame that one side delivers is sent to the other. */
export function join(a: NetworkBackend, b: NetworkBackend): void {
  const portTo = (to: NetworkBackend): NetworkPort => ({
    offload: to.offload,
    receive: (frame) => to.send(frame),
    drained: () => undefined,
    linkChanged: () => undefined,
  });
  a.open(portTo(b));
  b.open(portTo(a));
}

export class NetworkNamespace implements AsyncDisposable {
  readonly name: string;
  readonly device: string;
  readonly tap: TapBackend;
  readonly #children: ChildProcess[] = [];

  constructor() {
    const id = `${process.pid % 100_000}n${count++}`;
    this.name = `webhyve-${id}`;
    this.device = `wh${id}`;
    this.tap = TapBackend.open(this.device, true);
    execFileSync('ip', ['netns', 'add', this.name]);
    execFileSync('ip', ['link', 'set', this.device, 'netns', this.name]);
    this.ip('link', 'set', 'lo', 'up');
  }

  ip(...words: string[]): string {
    return execFileSync('ip', ['-n', this.name, ...words], { encoding: 'utf8' });
  }

  /** A static address of the user-mode network. */
  configure(): void {
    this.ip('addr', 'add', '10.0.2.15/24', 'dev', this.device);
    this.ip('link', 'set', this.device, 'up');
    this.ip('route', 'add', 'default', 'via', '10.0.2.2');
  }

  /** Runs a program inside; the result is all of its output. */
  run(command: string, options: { input?: Uint8Array; timeoutMs?: number } = {}): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const child = spawn('ip', ['netns', 'exec', this.name, 'sh', '-c', command], {
        timeout: options.timeoutMs ?? 60_000,
      });
      this.#children.push(child);
      const chunks: Buffer[] = [];
      let problems = '';
      child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
      child.stderr.on('data', (chunk: Buffer) => (problems += chunk.toString()));
      child.stdin.on('error', () => undefined);
      child.stdin.end(options.input);
      child.on('error', reject);
      child.on('close', (code, signal) => {
        if (code === 0) resolve(Buffer.concat(chunks));
        else reject(new Error(`${command}: status ${code ?? signal}\n${problems}`));
      });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) child.kill('SIGKILL');
    await this.tap.close();
    spawnSync('ip', ['netns', 'del', this.name]);
  }
}
