/**
 * Booting machines in vitest: `import { test, expect } from 'webhyve/vitest'`.
 *
 * `boot` starts a machine from the words of a bhyve(8) command line; it is destroyed when the test is over. A test that fails says
 * what the consoles printed last, and leaves `artifacts/TEST/console.log` (one file a console) and `registers.txt`.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect as baseExpect, test as baseTest } from 'vitest';
import { Console, formatRegisters, machineFromArgs, type HostOptions, type Machine } from './index.ts';

export interface BootOptions extends HostOptions {
  /** False: the machine is handed over before it runs. */
  readonly start?: boolean | undefined;
}

/** Starts a machine; `argv` is the command line without the program's name. */
export type Boot = (argv: readonly string[], options?: BootOptions) => Promise<Machine>;

/** A test's full name as a folder's. */
function folderName(names: readonly string[]): string {
  const name = names
    .join(' ')
    .replace(/[^\p{L}\p{N}._-]+/gu, '-')
    .replace(/^[-.]+|-+$/g, '');
  return name.slice(0, 120) || 'test';
}

/** Ends a failed test's machines and writes down what is left of them. Returns the text for the person who reads the failure. */
export async function writeArtifacts(folder: string, machines: readonly Machine[]): Promise<string> {
  mkdirSync(folder, { recursive: true });
  const report: string[] = [];
  for (const [index, machine] of machines.entries()) {
    // Registers can be read of machines that stand still.
    await machine.destroy();
    const { reason, code, message } = await machine.exited;
    const state = reason === 'destroyed' ? 'was running' : `ended with status ${code}, ${message}`;
    const prefix = machines.length === 1 ? '' : `${index}-`;
    for (const { name, transcript } of Object.values(machine.consoles)) {
      const file = name === 'com1' ? 'console.log' : `console-${name}.log`;
      writeFileSync(join(folder, prefix + file), transcript);
    }
    const registers = Array.from({ length: machine.plan.vcpus }, (_, vcpu) => {
      return `vCPU ${vcpu}\n${formatRegisters(machine.registers(vcpu))}\n`;
    });
    writeFileSync(join(folder, `${prefix}registers.txt`), registers.join('\n'));
    report.push(`${machine.name} ${state}; ${machine.consoleTail()}`);
  }
  report.push(`whole consoles and registers: ${folder}`);
  return report.join('\n');
}

export interface BootFixtures {
  readonly boot: Boot;
}

/** vitest's `test` with `boot`. */
export const test = baseTest.extend<BootFixtures>({
  boot: async ({ task, onTestFailed }, use) => {
    const machines: Machine[] = [];
    onTestFailed(async () => {
      if (machines.length === 0) return;
      const names: string[] = [task.name];
      for (let suite = task.suite; suite; suite = suite.suite) if (suite.name) names.unshift(suite.name);
      process.stderr.write(`${await writeArtifacts(join('artifacts', folderName(names)), machines)}\n`);
    });
    await use(async (argv, options = {}) => {
      const machine = await machineFromArgs(argv, options);
      machines.push(machine);
      if (options.start !== false) machine.start();
      return machine;
    });
    await Promise.all(machines.map((machine) => machine.destroy()));
  },
});

interface PrintMatchers<R> {
  /** A console prints this (after what was matched before); the message shows its last lines when it does not. */
  toPrint: (pattern: string | RegExp, options?: { readonly timeout?: number }) => Promise<R>;
}

declare module 'vitest' {
  // eslint-disable-next-line @typescript-eslint/no-unused-vars -- the parameter must be there for the interfaces to merge
  interface Matchers<T> extends PrintMatchers<void> {}
}

baseExpect.extend({
  async toPrint(received: unknown, pattern: string | RegExp, options: { readonly timeout?: number } = {}) {
    if (!(received instanceof Console)) return { pass: false, message: () => 'toPrint() is for consoles of a machine' };
    try {
      const { text } = await received.expect(pattern, options);
      return { pass: true, message: () => `${received.name} printed ${JSON.stringify(text)}` };
    } catch (error) {
      return { pass: false, message: () => (error instanceof Error ? error.message : String(error)) };
    }
  },
});

export const expect = baseExpect;
