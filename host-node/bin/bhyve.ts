/** bhyve(8). */
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { BhyveExit, parseCommandLine } from '../../devices/config/index.ts';
import { Machine } from '../../devices/machine/machine.ts';
import { restoreMachine } from '../../devices/machine/snapshot.ts';
import { loadCore, vcpuWorkerUrl } from '../assets.ts';
import { SerialOpener } from '../console/open-serial.ts';
import { createNodeHost, writeMessage } from '../node-host.ts';

/** Status of a run that its user left with Ctrl-A x: the machine is off, and callers that loop on resets stop. */
const LEFT_STATUS = 1;
const ERROR_STATUS = 4;

async function run(argv: readonly string[]): Promise<number> {
  const programName = basename(process.argv[1] ?? 'bhyve').replace(/\.[cm]?js$/, '');
  const parsed = parseCommandLine(argv, { programName, readTextFile: (path) => readFileSync(path, 'utf8') });
  for (const warning of parsed.warnings) writeMessage(warning);

  let left = false;
  let machine: Machine | undefined = undefined as Machine | undefined;
  const serial = new SerialOpener(() => {
    left = true;
    void machine?.destroy();
  });
  const host = createNodeHost({
    core: await loadCore(),
    workerUrl: vcpuWorkerUrl(),
    openSerial: (path) => serial.open(path),
  });
  machine = await Machine.create(parsed.tree, host, { fwCfgItems: parsed.fwCfgItems });
  if (parsed.restoreFile !== undefined) {
    try {
      await restoreMachine(machine, readFileSync(parsed.restoreFile));
    } catch (error) {
      await machine.destroy();
      const reason = error instanceof Error ? error.message : String(error);
      throw new BhyveExit(1, `Failed to read checkpoint info from file: '${parsed.restoreFile}'.\n${reason}\n`);
    }
  }
  const started = machine;
  // The power button where the guest listens to it; otherwise the signal does what it does to any program.
  const onTerminate = (): void => {
    if (started.powerButton()) return;
    process.off('SIGTERM', onTerminate);
    void started.destroy().then(() => process.kill(process.pid, 'SIGTERM'));
  };
  process.on('SIGTERM', onTerminate);
  started.start();
  const reason = await started.exited;
  if (left) return LEFT_STATUS;
  if (reason.reason === 'error' || reason.reason === 'triplefault') writeMessage(`${programName}: ${reason.message}`);
  return reason.code;
}

/** Ends with the status once everything written has left the process. */
async function exit(status: number): Promise<never> {
  for (const stream of [process.stdout, process.stderr]) {
    await new Promise<void>((resolve) => {
      if (stream.destroyed || !stream.writable) resolve();
      else stream.write('', () => resolve());
    });
  }
  process.exit(status);
}

try {
  await exit(await run(process.argv.slice(2)));
} catch (error) {
  if (error instanceof BhyveExit) {
    process.stdout.write(error.stdoutText);
    process.stderr.write(error.stderrText);
    await exit(error.status);
  }
  process.stderr.write(
    `bhyve: internal error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
  );
  await exit(ERROR_STATUS);
}
